"""Read PIE-Bench++, PIE-Bench with edits of several aspects, from its Parquet files (arXiv:2406.00985)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter_datasets.benchmark import Benchmark, FileItem
from headrouter_datasets.pie_bench import RADAR, SIDE, TYPES, Brackets, without_brackets
from headrouter_datasets.reading.masks import RunLengths
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems
from headrouter_datasets.reading.tables import Row, read_parquet, texts_of

_TEXTS: Final = ("id", "source_prompt", "target_prompt", "mask")


class PieBenchPlusPlus(Benchmark):
    """Holds the parameters of PIE-Bench++: the folder with ``0_random_140/`` … ``9_change_style_80/``, each of Parquet files.

    It has no instructions; of its columns ``edit_action``, ``aspect_mapping`` and ``blended_words`` are not read.
    """

    title: ClassVar[str] = "PIE-Bench++"
    size: ClassVar[tuple[int, int] | None] = (SIDE, SIDE)
    radar_kinds: ClassVar[dict[str, str]] = RADAR

    brackets: Annotated[
        Brackets,
        Field(
            description="`remove` takes the brackets of prompts away; `mark` keeps them as marks of the words that change."
        ),
    ] = "remove"

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the Parquet files, kind by kind."""
        files = sorted(folder.glob("[0-9]_*_*/*.parquet"))
        if not files:
            raise InvalidInputError(f"`folder` of {self.title} must have folders like 0_random_140 with Parquet files.")
        for file in files:
            kind = TYPES[int(file.parent.name[0])]
            for place, row in read_parquet(file, ("image", *_TEXTS)):
                item = self._item(kind, place, row, problems)
                if item is not None:
                    yield item

    def _item(self, kind: str, place: str, row: Row, problems: Problems) -> FileItem | None:
        texts = texts_of(row, _TEXTS, place, problems)
        picture = embedded(row["image"])
        if picture is None:
            problems.add(place, "`image` has no bytes of a picture.")
        if texts is None or picture is None:
            return None
        mask = None
        try:
            if not re.fullmatch(r"[\d\s,\[\]]*", texts["mask"]):
                raise InvalidInputError("`mask` must be whole numbers with spaces between them.")
            mask = RunLengths.of([int(number) for number in re.findall(r"\d+", texts["mask"])], SIDE)
        except InvalidInputError as error:
            problems.add(place, str(error))
        return FileItem(
            key=texts["id"],
            picture_key=texts["id"],
            number=0,
            kind=kind,
            source_prompt=without_brackets(texts["source_prompt"], self.brackets),
            prompt=without_brackets(texts["target_prompt"], self.brackets),
            place=place,
            picture_source=picture,
            mask_source=mask,
        )


def embedded(cell: object) -> PictureSource | None:
    """Return the picture of a cell, which has its file's bytes; None where it has none."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return PictureSource(content) if isinstance(content, bytes) else None
