"""Read pictures of one's own, from a folder with a CSV or JSONL file of edits."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter.experiments import radar
from headrouter_datasets.benchmark import Benchmark, FileItem
from headrouter_datasets.reading.masks import MaskFile
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems
from headrouter_datasets.reading.slugs import Keys
from headrouter_datasets.reading.tables import Row, read_csv, read_jsonl, texts_of

REQUIRED: Final = ("image", "prompt")
OPTIONAL: Final = ("source_prompt", "instruction", "kind", "mask", "truth", "id")
FILES: Final = ("edits.csv", "edits.jsonl")


class Pictures(Benchmark):
    """Holds the parameters of a folder of pictures with a table of edits.

    Columns: ``image`` (path below the folder) and ``prompt``; and, if wanted, ``source_prompt``, ``instruction``, ``kind``,
    ``mask`` (path of a picture, white where the edit may act), ``truth`` (path of the right result) and ``id`` (names the edit's
    files). An empty cell counts as none.
    """

    title: ClassVar[str] = "a folder of pictures"
    radar_kinds: ClassVar[dict[str, str]] = {kind: kind for kind in radar.KINDS}

    file: Annotated[str, Field(description=f"Name of the table in the folder; {FILES[0]} or {FILES[1]} if empty.")] = ""
    ignored_columns: Annotated[tuple[str, ...], Field(description="Columns of the table that are for you alone.")] = ()

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the table."""
        files = [folder / self.file] if self.file else [folder / name for name in FILES if (folder / name).is_file()]
        if len(files) != 1:
            raise InvalidInputError(
                f"`folder` must have one of {' and '.join(FILES)}, or `file` name the table (got {len(files)})."
            )
        if files[0].suffix.lower() not in (".csv", ".jsonl"):
            raise InvalidInputError(f"`file` must end in .csv or .jsonl (got {self.file!r}).")
        read = read_csv if files[0].suffix.lower() == ".csv" else read_jsonl
        keys, unknown = Keys(), set[str]()
        for place, row in read(files[0], problems):
            for name in row:
                if name not in (*REQUIRED, *OPTIONAL, *self.ignored_columns, *unknown):
                    unknown.add(name)
                    problems.add(place, _unknown(name))
            item = _item(folder, place, row, keys, problems)
            if item is not None:
                yield item


def _unknown(name: str) -> str:
    close = get_close_matches(name, (*REQUIRED, *OPTIONAL), n=1)
    advice = f"Did you mean `{close[0]}`?" if close else "Give it in `ignored_columns` if it is for you alone."
    return f"the column `{name}` is unknown. {advice}"


def _item(folder: Path, place: str, row: Row, keys: Keys, problems: Problems) -> FileItem | None:
    cells = {name: value for name, value in row.items() if value not in ("", None)}
    texts = texts_of(cells, (*REQUIRED, *(name for name in OPTIONAL if name in cells)), place, problems)
    if texts is None:
        return None
    source_prompt = texts.get("source_prompt", "")
    picture, key = keys.of(texts["image"], source_prompt)
    return FileItem(
        key=texts.get("id", key),
        picture_key=picture,
        number=0,
        kind=texts.get("kind", "edit"),
        source_prompt=source_prompt,
        prompt=texts["prompt"],
        instruction=texts.get("instruction", ""),
        place=place,
        picture_source=PictureSource(folder / texts["image"]),
        mask_source=MaskFile(folder / texts["mask"]) if "mask" in texts else None,
        truth_source=PictureSource(folder / texts["truth"]) if "truth" in texts else None,
    )
