"""Read TEdBench (arXiv:2210.09276) and TEdBench++ (arXiv:2311.16711): pictures and target texts, no source prompts, no masks."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Final

from headrouter.errors import InvalidInputError
from headrouter_datasets.benchmark import Benchmark, FileItem
from headrouter_datasets.pie_bench_pp import embedded
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems
from headrouter_datasets.reading.slugs import Keys
from headrouter_datasets.reading.tables import Row, read_csv, read_json, read_parquet, texts_of

KIND: Final = "edit"
"""Kind of all edits: neither set has kinds."""
_LISTED: Final = ("img_name", "target_text")


class TEdBench(Benchmark):
    """Holds the parameters of TEdBench, in either of its forms.

    Parquet files ``val-*.parquet`` with the columns ``original_image`` and ``caption`` (100 rows), or ``originals/`` beside one
    JSON file, a list of ``{"img_name": …, "target_text": …}``. The results of Imagic that the Parquet files have are not read.
    """

    title: ClassVar[str] = "TEdBench"

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the Parquet files, or the list."""
        files = sorted(folder.glob("**/val-*.parquet"))
        lists = sorted(folder.glob("*.json"))
        if files:
            return self._embedded(files, problems)
        if len(lists) != 1 or not (folder / "originals").is_dir():
            raise InvalidInputError(
                f"`folder` of {self.title} must have val-*.parquet, or originals/ beside one JSON file (got {len(lists)} of these)."
            )
        return listed(folder, _rows_of_list(lists[0], problems), problems)

    def _embedded(self, files: list[Path], problems: Problems) -> Iterator[FileItem]:
        places = (found for file in files for found in read_parquet(file, ("original_image", "caption")))
        for number, (place, row) in enumerate(places):
            texts, picture = texts_of(row, ("caption",), place, problems), embedded(row["original_image"])
            if picture is None:
                problems.add(place, "`original_image` has no bytes of a picture.")
            elif texts is not None:
                key = f"{number:03}"
                yield FileItem(key, key, 0, KIND, "", texts["caption"], place=place, picture_source=picture)


class TEdBenchPlusPlus(Benchmark):
    """Holds the parameters of TEdBench++: the folder with ``tedbench++.csv`` and ``originals/``.

    Of the columns ``img_name`` and ``target_text`` are read; the others are parameters of LEDITS++.
    """

    title: ClassVar[str] = "TEdBench++"

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the CSV file."""
        return listed(folder, read_csv(folder / "tedbench++.csv", problems), problems)


def listed(folder: Path, rows: Iterable[tuple[str, Row]], problems: Problems) -> Iterator[FileItem]:
    """Yield the edits of a list of pictures in ``originals/`` and target texts."""
    keys = Keys()
    for place, row in rows:
        texts = texts_of(row, _LISTED, place, problems)
        if texts is not None:
            picture, key = keys.of(texts["img_name"], "")
            source = PictureSource(folder / "originals" / texts["img_name"])
            yield FileItem(key, picture, 0, KIND, "", texts["target_text"], place=place, picture_source=source)


def _rows_of_list(path: Path, problems: Problems) -> Iterator[tuple[str, Row]]:
    table = read_json(path)
    if not isinstance(table, list):
        raise InvalidInputError(f"'{path.name}' must be a list of rows.")
    for number, row in enumerate(table, 1):
        if isinstance(row, dict):
            yield f"{path.name}, row {number}", row
        else:
            problems.add(f"{path.name}, row {number}", "it must be an object, `{…}`.")
