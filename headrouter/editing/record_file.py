"""Read the file of a record, in this format or an earlier one, and write it."""

import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from headrouter.config.configuration import validate
from headrouter.editing.record import FORMAT, Record
from headrouter.errors import InvalidInputError, UnknownNameError
from headrouter.files import LARGEST_TEXT, path_of, read_file

RECORD: Final = "result.json"
Plain = dict[str, Any]
_FORMER_LENGTHS: Final = {"flux": 512, "sd3": 256, "sd3.5": 256}
"""`max_sequence_length` in records of format 1 for which none was asked; a model that took less had less."""


def _with_weights(record: Plain) -> Plain:
    """Format 1 does not say with which weights an edit was made."""
    backbone = record.get("backbone")
    if isinstance(backbone, dict) and backbone.get("max_sequence_length") == _FORMER_LENGTHS.get(
        str(backbone.get("name"))
    ):
        backbone = {name: value for name, value in backbone.items() if name != "max_sequence_length"}
    return {"weights": "", **record, "backbone": backbone}


def _with_code(record: Plain) -> Plain:
    """Format 2 has versions, and no source."""
    versions = {"headrouter": record["headrouter"].get("version"), "torch": record["headrouter"].get("torch")}
    return {**record, "code": {name: {"version": found} for name, found in versions.items() if found is not None}}


def _without_operators(record: Plain) -> Plain:
    """Format 3 knows no velocity operators."""
    return record


_STEPS: Final[tuple[Callable[[Plain], Plain], ...]] = (_with_weights, _with_code, _without_operators)
"""From each format to the next."""


def format_of(record: Mapping[str, Any]) -> int | None:
    """Return the format of a record that this version reads, None for any other."""
    found = record["headrouter"].get("format")
    return found if type(found) is int and 1 <= found <= FORMAT else None


def record_from(record: Mapping[str, Any]) -> Record:
    """Return the record of plain data, of the format that is written or of an earlier one.

    Raises:
        InvalidInputError: this version does not read its format; or naming every field that is damaged.
    """
    now, found = dict(record), format_of(record)
    if found is None:
        raise InvalidInputError(f"this headrouter reads records of format {FORMAT}; take the version that wrote it.")
    for step in _STEPS[found - 1 :]:
        now = step(now)
    return validate(Record, now)


def read_record(path: str | Path) -> Record:
    """Read what :meth:`~headrouter.editing.result.Result.save` wrote.

    Raises:
        InvalidInputError: not there, not JSON, not a record of an edit, of a later format, or damaged.
    """
    place = record_file(path)
    plain = read_plain(place)
    with part_of_record(place):
        record = record_from(plain)
        if record.source is None or not record.edit.prompt:
            name = "source" if record.source is None else "edit.prompt"
            raise InvalidInputError(f"`{name}`: is missing; take the record as it was saved.")
    return record


def record_file(path: str | Path) -> Path:
    """Return the file of the record that a user means, who may name its folder."""
    path = path_of(path, "path")
    return path / RECORD if path.is_dir() else path


def read_plain(path: Path) -> dict[str, Any]:
    """Read a record's file as plain data of any format.

    Raises:
        InvalidInputError: not there, not JSON, not a record of an edit, or of a later format.
    """
    text = read_file(path, "record", LARGEST_TEXT)
    try:
        plain = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"cannot read the record '{path}': {error}.") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("headrouter"), dict) or "edit" not in plain:
        raise InvalidInputError(f"'{path}' is not the record of an edit; give the result.json that an edit wrote.")
    if format_of(plain) is None:
        raise InvalidInputError(
            f"'{path}' has format {reprlib.repr(plain['headrouter'].get('format'))}, this headrouter reads {FORMAT}; take the "
            "version that wrote it."
        )
    return plain


@contextmanager
def part_of_record(path: Path) -> Iterator[None]:
    """Name the record in errors that its content causes."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"the record '{path}' is damaged: {error}") from error
    except UnknownNameError as error:
        raise UnknownNameError(f"the record '{path}' needs a part that is not installed here: {error}") from error


def as_json(plain: Mapping[str, Any]) -> bytes:
    """Return plain data as JSON that a person can read."""
    return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
