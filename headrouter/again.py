"""Run an edit again from the record that it left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from headrouter.assembly import backbone_parameters_of, inversion_of, methods_of
from headrouter.configuration import Parameters, validate
from headrouter.editor import Editor
from headrouter.errors import InvalidInputError
from headrouter.picture import load_picture
from headrouter.result import RECORD, Result, picture_hash, read_record


def edit_again(path: str | Path, *, progress: bool = True, **loading: str | None) -> Result:
    """The same edit, from ``result.json`` or the folder that holds it.

    Args:
        path: What :meth:`Result.save` wrote.
        progress: Show progress bars.
        loading: ``device``, ``dtype`` or ``offload``, where this machine needs others than the record's.

    Raises:
        InvalidInputError: the record is damaged, its picture is not the one that was edited, or it was made with objects that
            no name stands for.
    """
    given = read_record(path)
    path = Path(path) / RECORD if Path(path).is_dir() else Path(path)
    try:
        record = validate(_Record, given)
    except InvalidInputError as error:
        raise InvalidInputError(f"the record '{path}' is damaged: {error}") from error
    file = path.parent / record.source.file
    picture = load_picture(file)
    editor = _editor(record, progress, {name: value for name, value in loading.items() if value is not None})
    if picture_hash(picture) != record.source.sha256:
        raise InvalidInputError(f"'{file}' is not the picture that was edited; its hash differs.")
    asked = record.edit
    return editor.edit(
        picture,
        asked.prompt,
        asked.source_prompt,
        negative_prompt=asked.negative_prompt,
        guidance=asked.guidance,
        steps=asked.steps,
        seed=asked.seed,
        size=asked.size,
        maps=asked.maps,
    )


class _Part(Parameters):
    """A part by name, and its parameters, which the part itself validates."""

    model_config = ConfigDict(extra="allow")

    name: str | None

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class _Backbone(_Part):
    model: str | None
    pipeline: bool = False


class _Source(Parameters):
    file: str
    sha256: str


class _Edit(Parameters):
    prompt: list[str]
    source_prompt: str
    negative_prompt: str
    guidance: float
    steps: int
    seed: int | list[int]
    size: tuple[int, int]
    maps: bool


class _Record(Parameters):
    """What :meth:`headrouter.result.Result.save` writes, as far as it is needed."""

    model_config = ConfigDict(extra="ignore")

    backbone: _Backbone
    inversion: _Part
    methods: list[_Part]
    edit: _Edit
    max_rows: int | None
    source: _Source


def _editor(record: _Record, progress: bool, loading: Mapping[str, str]) -> Editor:
    backbone = record.backbone
    unnamed = None in {part.name for part in (backbone, record.inversion, *record.methods)}
    if unnamed or backbone.pipeline:
        raise InvalidInputError(
            "this edit was made with a model object, which a file cannot hold; run it from Python again."
        )
    return Editor(
        backbone_parameters_of(str(backbone.name), {**backbone.parameters, **loading}),
        inversion_of(str(record.inversion.name), record.inversion.parameters),
        [method for part in record.methods for method in methods_of(str(part.name), part.parameters)],
        model=backbone.model,
        max_rows=record.max_rows,
        progress=progress,
    )
