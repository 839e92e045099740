"""Read PIE-Bench, 700 edits of ten kinds with masks drawn by hand (arXiv:2310.01506)."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter.experiments import radar
from headrouter_datasets.benchmark import Benchmark, FileItem
from headrouter_datasets.reading.masks import RunLengths
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems
from headrouter_datasets.reading.tables import read_json, texts_of

SIDE: Final = 512
TYPES: Final = (
    "random",
    "change_object",
    "add_object",
    "delete_object",
    "change_attribute_content",
    "change_attribute_pose",
    "change_attribute_color",
    "change_attribute_material",
    "change_background",
    "change_style",
)
"""Kinds of edit, by the number that the mapping file has."""
RADAR: Final = {
    "change_object": radar.OBJECT,
    "add_object": radar.ADD_OR_DELETE,
    "delete_object": radar.ADD_OR_DELETE,
    "change_attribute_content": radar.CONTENT,
    "change_attribute_pose": radar.POSE,
    "change_attribute_color": radar.COLOR,
    "change_attribute_material": radar.MATERIAL,
    "change_background": radar.BACKGROUND,
    "change_style": radar.STYLE,
}
"""Kinds of the radar chart; ``random`` is none of them."""

Brackets = Literal["remove", "mark"]
_TEXTS: Final = ("image_path", "original_prompt", "editing_prompt", "editing_type_id", "editing_instruction")


def without_brackets(text: str, brackets: Brackets) -> str:
    """Return a prompt without any bracket, as the published evaluator reads it, or as it is, with its words marked."""
    return text.replace("[", "").replace("]", "") if brackets == "remove" else text


class PieBench(Benchmark):
    """Holds the parameters of PIE-Bench: the folder with ``mapping_file.json`` and ``annotation_images/``.

    A mapping file without masks, such as DNA-Bench's long prompts for the same pictures, is read, too; then no row may have one.
    """

    title: ClassVar[str] = "PIE-Bench"
    size: ClassVar[tuple[int, int] | None] = (SIDE, SIDE)
    radar_kinds: ClassVar[dict[str, str]] = RADAR

    mapping: Annotated[str, Field(description="Name of the mapping file in the folder.")] = "mapping_file.json"
    brackets: Annotated[
        Brackets,
        Field(
            description="`remove` takes the brackets of prompts away, as the published evaluator does; `mark` keeps them, by which "
            "headrouter knows the words that the edit changes."
        ),
    ] = "remove"

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the mapping file."""
        table = read_json(folder / self.mapping)
        if not isinstance(table, Mapping) or not all(isinstance(row, Mapping) for row in table.values()):
            raise InvalidInputError(f"'{self.mapping}' must be a mapping of ids to rows.")
        masked = any("mask" in row for row in table.values())
        for key, row in table.items():
            item = self._item(folder, key, row, masked, problems)
            if item is not None:
                yield item

    def _item(
        self, folder: Path, key: str, row: Mapping[str, Any], masked: bool, problems: Problems
    ) -> FileItem | None:
        place = f"{self.mapping}: {key}"
        texts = texts_of(row, _TEXTS, place, problems)
        if masked and "mask" not in row:
            problems.add(place, "no `mask`, which other rows have.")
        if texts is None:
            return None
        if texts["editing_type_id"] not in map(str, range(len(TYPES))):
            problems.add(place, f'`editing_type_id` must be "0" … "9" (got {texts["editing_type_id"]!r}).')
            return None
        mask = None
        if "mask" in row:
            try:
                mask = RunLengths.of(row["mask"], SIDE)
            except InvalidInputError as error:
                problems.add(place, str(error))
        return FileItem(
            key=key,
            picture_key=key,
            number=0,
            kind=TYPES[int(texts["editing_type_id"])],
            source_prompt=without_brackets(texts["original_prompt"], self.brackets),
            prompt=without_brackets(texts["editing_prompt"], self.brackets),
            instruction=texts["editing_instruction"],
            place=place,
            picture_source=PictureSource(folder / "annotation_images" / texts["image_path"]),
            mask_source=mask,
        )
