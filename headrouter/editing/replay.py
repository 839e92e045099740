"""Run an edit again from the record that it left."""

import warnings
from pathlib import Path

from PIL import Image

from headrouter import renamed
from headrouter.editing.assembly import (
    backbone_parameters_of,
    changed,
    inversion_of,
    methods_of,
    operators_of,
    registered_under,
)
from headrouter.editing.editor import Editor
from headrouter.editing.record import Part, Picture, Record, picture_hash
from headrouter.editing.record_file import part_of_record, read_record, record_file
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError, RecordWarning, WeightsError
from headrouter.imaging.picture import load_picture
from headrouter.methods.method import Method
from headrouter.models.backbone import BackboneParameters
from headrouter.plugins.specifications import Kind
from headrouter.sampling.engine import Progress
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator


def replay(
    path: str | Path, *, model: str | None = None, progress: bool | Progress = True, **loading: str | None
) -> Result:
    """Run the edit again that a ``result.json``, or the folder that holds it, describes.

    Args:
        path: Folder or file that :meth:`Result.save` wrote.
        model: Place of the weights on this machine, if not that of the record. They must be the same weights.
        progress: Show progress bars, or a function to call after each step, see :class:`~headrouter.editing.editor.Editor`.
        loading: ``device``, ``dtype``, ``offload``, ``variant`` or ``base``, where this machine needs others than the record's.

    Raises:
        InvalidInputError: the record is damaged, its picture is not the one that was edited, or it was made with objects that
            no name stands for.
        WeightsError: the weights are not those that the edit was made with.
        UnknownNameError: a part is not installed here.
    """
    path = record_file(path)
    record = read_record(path)
    assert record.source is not None
    if record.backbone.name is None or record.backbone.pipeline:
        raise InvalidInputError(
            "`backbone`: this edit was made with a model object, which a file cannot hold; run it from Python again."
        )
    inversion_name = _name("inversion", record.inversion)
    named: _Named = [(_name("method", part), part) for part in record.methods]
    changing: _Named = [(_name("operator", part), part) for part in record.operators]
    with part_of_record(path):
        backbone, inversion, operators, methods = _parts(record, inversion_name, changing, named)
    picture, *references = (_picture(path.parent, one) for one in (record.source, *record.references))
    backbone = changed(backbone, {name: value for name, value in loading.items() if value is not None})
    editor = Editor(
        backbone,
        inversion,
        methods,
        operators=operators,
        model=model or record.backbone.model,
        max_rows=record.max_rows,
        progress=progress,
    )
    _check_weights(editor, record, path, backbone.dtype)
    result = editor.edit(picture, references=references, **dict(record.edit))
    result.record = result.record.model_copy(update={"preset": record.preset})  # the parts have its values
    return result


__getattr__ = renamed.names(__name__, edit_again="replay")


_Named = list[tuple[str, Part]]


def _picture(folder: Path, named: Picture) -> Image.Image:
    """Read a picture beside a record, and check that it is the one that was there."""
    picture = load_picture(folder / named.file)
    if picture_hash(picture) != named.sha256:
        raise InvalidInputError(
            f"'{folder / named.file}' is not the picture that was edited: its hash differs. Put the original back, or edit anew."
        )
    return picture


def _parts(
    record: Record, inversion: str, operators: _Named, methods: _Named
) -> tuple[BackboneParameters, Inversion, list[VelocityOperator], list[Method]]:
    return (
        backbone_parameters_of(str(record.backbone.name), record.backbone.parameters),
        inversion_of(inversion, record.inversion.parameters),
        [operator for name, part in operators for operator in operators_of(name, part.parameters)],
        [method for name, part in methods for method in methods_of(name, part.parameters)],
    )


def _name(kind: Kind, part: Part) -> str:
    found = part.name or registered_under(kind, part.unregistered or "")
    if found is None:
        raise InvalidInputError(
            f"this edit was made with the {kind} {part.unregistered!r}, which no installed plug-in registers, so that it cannot be "
            "loaded by name. Register it in a plug-in (`headrouter plugins new`), or run the edit from Python again."
        )
    return found


def _check_weights(editor: Editor, record: Record, path: Path, dtype: str) -> None:
    if not record.weights:
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
