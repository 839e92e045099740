"""Read tables of edits: JSON, CSV, JSONL, Parquet and Excel files, row by row."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from headrouter.errors import InvalidInputError, reason_of
from headrouter.files import LARGEST_TEXT, read_file
from headrouter_datasets.reading.problems import Problems

Row = Mapping[str, Any]


def read_text(path: Path) -> str:
    """Read a file of text in UTF-8; :class:`InvalidInputError` where it is not there, or none."""
    if not path.is_file():
        raise InvalidInputError(f"'{path.name}' is not in '{path.parent}'.")
    try:
        return read_file(path, "folder", LARGEST_TEXT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"'{path}' must be text in UTF-8: {error.reason}, byte {error.start}.") from error


def read_json(path: Path) -> Any:
    """Read a JSON file, in which no key may be there twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InvalidInputError(f"'{path.name}': the id or key {twice!r} is there twice.")
        return found

    try:
        return json.loads(read_text(path), object_pairs_hook=unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(f"'{path}' is no JSON: {reason_of(error)}.") from error


def read_csv(path: Path, problems: Problems) -> Iterator[tuple[str, Row]]:
    """Yield place and values of each row of a CSV file with a header."""
    reader = csv.DictReader(StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise InvalidInputError(f"'{path.name}': the column `{twice}` is there twice.")
        reader.fieldnames = header
        for row in reader:
            place = f"{path.name}:{reader.line_num}"
            values: dict[Any, Any] = row
            if None in values or None in values.values():
                problems.add(place, f"it has {_cells(values)} cells, and the header {len(header)}.")
            else:
                yield place, row
    except csv.Error as error:
        raise InvalidInputError(f"'{path.name}:{reader.line_num}' is no CSV: {error}.") from error


def _cells(row: Mapping[Any, Any]) -> int:
    return sum(value is not None for name, value in row.items() if name is not None) + len(row.get(None, ()))


def read_jsonl(path: Path, problems: Problems) -> Iterator[tuple[str, Row]]:
    """Yield place and values of each line of a file of JSON lines."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        place = f"{path.name}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            problems.add(place, f"it is no JSON: {reason_of(error)}.")
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            problems.add(place, "it must be an object, `{…}`.")


def read_parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Yield place and values of each row of a Parquet file, whose columns must be there; needs the package pyarrow."""
    _require("pyarrow", path)
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise InvalidInputError(
                    f"'{path.name}' has no column `{missing[0]}`; it has {', '.join(file.schema_arrow.names)}."
                )
            rows = file.read(columns=list(columns)).to_pylist()
    except (ArrowException, OSError) as error:
        raise InvalidInputError(f"'{path}' is no Parquet file: {reason_of(error)}.") from error
    for number, row in enumerate(rows, 1):
        yield f"{path.parent.name}/{path.name}, row {number}", row


def read_xlsx(path: Path) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield number and cells of each row of an Excel file's first sheet; needs the package openpyxl."""
    _require("openpyxl", path)
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            rows = list(book.worksheets[0].iter_rows(values_only=True))
        finally:
            book.close()
    except Exception as error:  # a zip archive, XML or a format of its own: each has errors of its own
        raise InvalidInputError(f"'{path}' is no Excel file (.xlsx): {reason_of(error)}.") from error
    yield from enumerate(rows, 1)


def _require(package: str, path: Path) -> None:
    if find_spec(package) is None:
        raise InvalidInputError(f"'{path.name}' is read by the package {package}: pip install 'headrouter[datasets]'.")


def texts_of(row: Row, names: Sequence[str], place: str, problems: Problems) -> dict[str, str] | None:
    """Return the values of a row that must be text; None where one is not, with a problem for each."""
    for name in names:
        if name not in row:
            problems.add(place, f"no `{name}`.")
        elif not isinstance(row[name], str):
            problems.add(place, f"`{name}` must be text (got {row[name]!r}).")
    return {name: row[name] for name in names} if all(isinstance(row.get(name), str) for name in names) else None
