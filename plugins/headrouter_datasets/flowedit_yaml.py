"""Read edits in the YAML form of FlowEdit's authors (arXiv:2412.08629)."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from headrouter.config.yaml_document import Document, read_yaml
from headrouter.errors import InvalidInputError
from headrouter_datasets.benchmark import Benchmark, FileItem
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems
from headrouter_datasets.reading.slugs import Keys, slug
from headrouter_datasets.reading.tables import read_text

KIND: Final = "edit"
"""Kind of all edits: the form has none."""
_PICTURE: Final = ("input_img", "init_img")
_KNOWN: Final = (*_PICTURE, "source_prompt", "target_prompts", "target_codes")


class FlowEditYaml(Benchmark):
    """Holds the parameters of a YAML list of pictures, each with a source prompt and a list of target prompts.

    ``input_img`` or ``init_img`` is the picture's path below ``folder``. ``target_codes``, if there, name the edits; those without
    one are numbered.
    """

    title: ClassVar[str] = "the YAML form of FlowEdit"

    file: Annotated[str, Field(description="Name of the YAML file in the folder; its only one if empty.")] = ""
    pictures: Annotated[
        str,
        Field(
            description="Folder of all pictures below `folder`, in the place of the folders that the file names; as named if empty."
        ),
    ] = ""

    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the YAML file."""
        files = (
            [folder / self.file]
            if self.file
            else sorted(path for end in ("yaml", "yml") for path in folder.glob(f"*.{end}"))
        )
        if len(files) != 1:
            names = ", ".join(path.name for path in files) or "none"
            raise InvalidInputError(f"`file` must name the YAML file, since `folder` must have one (got {names}).")
        read_text(files[0])
        document = read_yaml(files[0])
        table = document.data
        if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
            raise InvalidInputError(
                f"'{files[0].name}' must be a list of pictures with `input_img` and `target_prompts`."
            )
        if not any(name in row for row in table for name in _PICTURE):
            raise InvalidInputError(f"'{files[0].name}' has no `input_img` or `init_img`.")
        keys, at = Keys(), Document(document.data, files[0].name, document.node)
        for number, row in enumerate(table):
            yield from self._edits(folder, row, at, number, keys, problems)

    def _edits(
        self, folder: Path, row: dict[str, Any], document: Document, number: int, keys: Keys, problems: Problems
    ) -> Iterator[FileItem]:
        place = document.locate((number,))
        before = len(problems.found)
        for name in row:
            if name not in _KNOWN:
                problems.add(
                    document.locate((number, name), at_key=True), f"`{name}` is unknown; known: {', '.join(_KNOWN)}."
                )
        named = [name for name in _PICTURE if name in row]
        prompts, codes = row.get("target_prompts"), row.get("target_codes")
        source = row.get("source_prompt", "")
        if len(named) != 1 or not isinstance(row[named[0]], str):
            problems.add(place, "`input_img` (or `init_img`) must be the path of a picture.")
        if not isinstance(source, str):
            problems.add(place, f"`source_prompt` must be text (got {source!r}).")
        if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
            problems.add(place, "`target_prompts` must be a list of texts.")
        elif codes is not None and (not isinstance(codes, list) or len(codes) > len(prompts)):
            problems.add(place, f"`target_codes` must be a list of at most {len(prompts)}, one for each target prompt.")
        if len(problems.found) > before:
            return
        path = PurePosixPath(row[named[0]])
        file = folder / self.pictures / path.name if self.pictures else folder / path
        elsewhere = [found.parent.name for found in folder.glob(f"*/{path.name}")]
        if not (self.pictures or file.exists()) and elsewhere:
            raise InvalidInputError(
                f"{place}: '{path}' is not there, but in '{elsewhere[0]}': give `pictures: {elsewhere[0]}`."
            )
        for index, prompt in enumerate(prompts or ()):
            picture, key = keys.of(str(path), source)
            if codes is not None and index < len(codes):
                key = f"{picture}-{slug(str(codes[index]))}"
            where = document.locate((number, "target_prompts", index))
            yield FileItem(key, picture, 0, KIND, source, prompt, place=where, picture_source=PictureSource(file))
