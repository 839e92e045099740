"""Run an edit again from the record that it left."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field

from headrouter.config.configuration import Parameters, validate
from headrouter.editing.assembly import (
    backbone_parameters_of,
    changed,
    inversion_of,
    methods_of,
    registered_under,
)
from headrouter.editing.editor import Editor
from headrouter.editing.record import RECORD, picture_hash, read_record
from headrouter.editing.request import Guidance, Seeds, Size, Steps, Text
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError, RecordWarning, UnknownNameError, WeightsError
from headrouter.imaging.picture import load_picture
from headrouter.methods.method import Method
from headrouter.models.backbone import BackboneParameters
from headrouter.plugins.specifications import Kind
from headrouter.sampling.inversion import Inversion


def edit_again(path: str | Path, *, model: str | None = None, progress: bool = True, **loading: str | None) -> Result:
    """Run the edit again that a ``result.json``, or the folder that holds it, describes.

    Args:
        path: What :meth:`Result.save` wrote.
        model: Where the weights are on this machine, if not where the record says. They must be the same weights.
        progress: Show progress bars.
        loading: ``device``, ``dtype``, ``offload``, ``variant`` or ``base``, where this machine needs others than the record's.

    Raises:
        InvalidInputError: the record is damaged, its picture is not the one that was edited, or it was made with objects that
            no name stands for.
        WeightsError: the weights are not those that the edit was made with.
        UnknownNameError: a part is not installed here.
    """
    given = read_record(path)
    path = Path(path) / RECORD if Path(path).is_dir() else Path(path)
    with _of_the_record(path):
        record = validate(_Record, given)
        if record.weights is None and given["headrouter"]["format"] > 1:
            raise InvalidInputError(
                "`weights`: the fingerprint of the weights is missing; take the record as it was saved."
            )
    if record.backbone.name is None or record.backbone.pipeline:
        raise InvalidInputError(
            "`backbone`: this edit was made with a model object, which a file cannot hold; run it from Python again."
        )
    names = _name("inversion", record.inversion), [_name("method", part) for part in record.methods]
    with _of_the_record(path):
        backbone, inversion, methods = _parts(record, *names)
    file = path.parent / record.source.file
    picture = load_picture(file)
    if picture_hash(picture) != record.source.sha256:
        raise InvalidInputError(
            f"'{file}' is not the picture that was edited: its hash differs. Put the original back, or edit anew."
        )
    backbone = changed(backbone, {name: value for name, value in loading.items() if value is not None})
    editor = Editor(
        backbone,
        inversion,
        methods,
        model=model or record.backbone.model,
        max_rows=record.max_rows,
        progress=progress,
    )
    _check_weights(editor, record, path, backbone.dtype)
    asked = record.edit
    result = editor.edit(
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
    result.record["preset"] = record.preset  # its values are among those of the parts
    return result


_FORMER_LENGTHS: Final = {"flux": 512, "sd3": 256, "sd3.5": 256}
"""`max_sequence_length` in records of format 1 for which none was asked; a model that took less had less."""


class _Part(Parameters):
    """A part by name, or by class if no plug-in registers it; and its parameters, which the part itself validates."""

    model_config = ConfigDict(extra="allow")

    name: str | None
    unregistered: str | None = Field(None, alias="class")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class _Backbone(_Part):
    model: str | None
    pipeline: bool = False


def _beside(name: str) -> str:
    if name in ("", ".", "..") or any(sign in name for sign in "/\\:\0"):
        raise ValueError("must be the name of a file beside the record")
    return name


class _Source(Parameters):
    file: Annotated[str, AfterValidator(_beside)]
    sha256: str


class _Edit(Parameters):
    prompt: list[Text] = Field(min_length=1)
    source_prompt: Text
    negative_prompt: Text
    guidance: Guidance
    steps: Steps
    seed: Seeds
    size: Size
    maps: bool


class _Record(Parameters):
    """What :meth:`headrouter.editing.result.Result.save` writes, as far as it is needed."""

    model_config = ConfigDict(extra="ignore")

    backbone: _Backbone
    weights: str | None = None
    inversion: _Part
    methods: list[_Part]
    edit: _Edit
    preset: str | None = None
    max_rows: int | None = Field(ge=2)
    source: _Source


@contextmanager
def _of_the_record(path: Path) -> Iterator[None]:
    """Name the record in errors that its content causes."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"the record '{path}' is damaged: {error}") from error
    except UnknownNameError as error:
        raise UnknownNameError(f"the record '{path}' needs a part that is not installed here: {error}") from error


def _parts(record: _Record, inversion: str, methods: list[str]) -> tuple[BackboneParameters, Inversion, list[Method]]:
    named, name, loading = (
        zip(methods, record.methods, strict=True),
        str(record.backbone.name),
        record.backbone.parameters,
    )
    if record.weights is None and loading.get("max_sequence_length") == _FORMER_LENGTHS.get(name):
        loading.pop("max_sequence_length", None)
    return (
        backbone_parameters_of(name, loading),
        inversion_of(inversion, record.inversion.parameters),
        [method for name, part in named for method in methods_of(name, part.parameters)],
    )


def _name(kind: Kind, part: _Part) -> str:
    found = part.name or registered_under(kind, part.unregistered or "")
    if found is None:
        raise InvalidInputError(
            f"this edit was made with the {kind} {part.unregistered!r}, which no installed plug-in registers, so that it cannot be "
            "loaded by name. Register it in a plug-in (`headrouter plugins new`), or run the edit from Python again."
        )
    return found


def _check_weights(editor: Editor, record: _Record, path: Path, dtype: str) -> None:
    if record.weights is None:
        warnings.warn(
            f"the record '{path}' is of an earlier version and does not say which weights the edit was made with; with others "
            "the picture will be another.",
            RecordWarning,
            stacklevel=3,
        )
        return
    found = editor.backbone.fingerprint()
    if found != record.weights:
        before = record.backbone.parameters.get("dtype")
        rounded = dtype != before and "float16" in (dtype, before)
        raise WeightsError(
            f"`model` {record.backbone.model!r} holds other weights (fingerprint {found}) than this edit was made with "
            f"({record.weights}). Say with `model` where those are, or edit the picture anew."
            + (f" Rounding to float16 makes other weights, too: `dtype` was {before!r}." if rounded else "")
        )
