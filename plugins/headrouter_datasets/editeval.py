"""Read EditEval, version 1: 50 edits of seven kinds (arXiv:2402.17525)."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter.experiments import radar
from headrouter_datasets.benchmark import Benchmark, FileItem
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems
from headrouter_datasets.reading.tables import read_xlsx

TABLE: Final = "editing_prompts_collection.xlsx"
FOLDERS: Final = {
    "Object Addition": "object_addition",
    "Object Replacement": "object_replacement",
    "Object Removal": "object_removel",
    "Background Change": "background_change",
    "Style Change": "style_change",
    "Texture Change": "texture_change",
    "Action Change": "action_change",
}
"""Folders of the pictures of each kind, spelled as they were published."""
RADAR: Final = {
    "object_addition": radar.ADD_OR_DELETE,
    "object_replacement": radar.OBJECT,
    "object_removal": radar.ADD_OR_DELETE,
    "background_change": radar.BACKGROUND,
    "style_change": radar.STYLE,
    "texture_change": radar.MATERIAL,
    "action_change": radar.POSE,
}
"""Kinds of the radar chart; it has no edit of content or of colour alone."""
_HEADER: Final = ("Source Prompt", "Target Prompt", "Instruction")


class EditEval(Benchmark):
    """Holds the parameters of EditEval: the folder with the Excel file of prompts, or that with ``Dataset/``, which holds it."""

    title: ClassVar[str] = "EditEval"
    radar_kinds: ClassVar[dict[str, str]] = RADAR

    folder: Annotated[str, Field(description=f"Folder with {TABLE} and the pictures, or the one around `Dataset`.")]

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the sheet: a kind stands in the first row of its edits, the first kind in the header."""
        place = folder / "Dataset" if (folder / "Dataset" / TABLE).is_file() else folder
        if not (place / TABLE).is_file():
            raise InvalidInputError(f"`folder` of {self.title} must have {TABLE}, or Dataset/{TABLE}.")
        table = list(read_xlsx(place / TABLE))
        if not table or tuple(table[0][1][1:4]) != _HEADER:
            raise InvalidInputError(
                f"'{TABLE}' must have the columns {', '.join(_HEADER)} behind the kind, in its first row."
            )
        kind, counts = "", Counter[str]()
        for number, row in table:
            cells = [*row, None, None, None, None][:4]
            kind = str(cells[0]).strip() if cells[0] is not None else kind
            if number == 1 or all(cell is None for cell in cells[1:]):
                continue
            counts[kind] += 1
            item = self._item(place, f"{TABLE}, row {number}", kind, counts[kind], cells[1:], problems)
            if item is not None:
                yield item

    def _item(
        self, folder: Path, place: str, kind: str, number: int, cells: list[object], problems: Problems
    ) -> FileItem | None:
        if kind not in FOLDERS:
            problems.add(place, f"the kind {kind!r} is none of {', '.join(FOLDERS)}.")
            return None
        for name, cell in zip(_HEADER, cells, strict=True):
            if not isinstance(cell, str):
                problems.add(place, f"`{name}` must be text (got {cell!r}).")
        files = [
            file for ending in ("jpg", "jpeg", "png") for file in folder.glob(f"{FOLDERS[kind]}/{number}.{ending}")
        ]
        if len(files) != 1:
            problems.add(place, f"'{FOLDERS[kind]}/{number}.jpg' or .jpeg is not there, or both are.")
        if len(files) != 1 or not all(isinstance(cell, str) for cell in cells):
            return None
        key = f"{kind.lower().replace(' ', '_')}-{number}"
        source, prompt, instruction = map(str, cells)
        return FileItem(
            key,
            key,
            0,
            key.rpartition("-")[0],
            source,
            prompt,
            instruction,
            place=place,
            picture_source=PictureSource(files[0]),
        )
