"""Run an edit again from the record that it left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrouter.assembly import backbone_parameters_of, inversion_of, methods_of
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
    record = read_record(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    try:
        edit, source = record["edit"], record["source"]
        picture = load_picture(folder / source["file"])
        editor = _editor(record, progress, {name: value for name, value in loading.items() if value is not None})
        if picture_hash(picture) != source["sha256"]:
            raise InvalidInputError(
                f"'{folder / source['file']}' is not the picture that was edited; its hash differs."
            )
        return editor.edit(
            picture,
            edit["prompt"],
            edit["source_prompt"],
            negative_prompt=edit["negative_prompt"],
            guidance=edit["guidance"],
            steps=edit["steps"],
            seed=edit["seed"],
            size=tuple(edit["size"]),
            maps=edit["maps"],
        )
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            f"the record in '{folder / RECORD}' is damaged: {error!r} is missing or wrong."
        ) from error


def _editor(record: Mapping[str, Any], progress: bool, loading: Mapping[str, str]) -> Editor:
    backbone = dict(record["backbone"])
    name, model, pipeline = backbone.pop("name"), backbone.pop("model"), backbone.pop("pipeline", False)
    if name is None or pipeline:
        raise InvalidInputError(
            "this edit was made with a model object, which a file cannot hold; run it from Python again."
        )
    inversion = dict(record["inversion"])
    return Editor(
        backbone_parameters_of(name, {**backbone, **loading}),
        inversion_of(inversion.pop("name"), inversion),
        [method for values in record["methods"] for method in methods_of(values["name"], _without_name(values))],
        model=model,
        max_rows=record["max_rows"],
        progress=progress,
    )


def _without_name(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "name"}
