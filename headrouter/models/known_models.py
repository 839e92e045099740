"""Recognise registered models by the place of their weights: a hub id, a folder, or a loaded pipeline."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headrouter.errors import PluginError
from headrouter.files import LARGEST_TEXT, read_file
from headrouter.models.backbone import Defaults
from headrouter.plugins import registry
from headrouter.plugins.specifications import Model

_INDEX = "model_index.json"


def known_defaults(backbone: str, source: str) -> Defaults | None:
    """Return the defaults of the registered model whose weights ``source`` names; None if there are none.

    A folder is recognised where it is that of bundled weights, a snapshot in the hub's cache, or one that was saved from a
    pipeline of the hub, which its ``model_index.json`` says.

    Args:
        backbone: Qualified or short name of the backbone; its models come before those of others.
        source: Hub id or folder.
    """
    ids = {name.casefold() for name in _names(source)}
    own = registry().models(backbone)
    others = [entry.item for entry in registry().entries("model") if isinstance(entry.item, Model)]
    for model in [*own, *others]:
        if model.source.casefold() in ids or (":" in model.source and model in own and _same(model, source)):
            return defaults_of(model)
    return None


def defaults_of(model: Model) -> Defaults | None:
    """Return the defaults of a registered model; None where the configuration of its weights has them."""
    return Defaults(model.steps, model.guidance, model.area, model.word_blocks) if model.steps else None


def _names(source: str) -> Iterator[str]:
    """Yield the hub ids that a source can stand for."""
    yield source
    for part in Path(source).parts:
        if part.startswith("models--"):  # in the hub's cache, models--owner--name/snapshots/revision
            yield part.removeprefix("models--").replace("--", "/")
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # loading says what is wrong with a folder
        index = Path(source).expanduser() / _INDEX
        name = json.loads(read_file(index, "model", LARGEST_TEXT).decode()).get("_name_or_path")
        if isinstance(name, str):
            yield name


def _same(model: Model, source: str) -> bool:
    """Return whether a source is the folder that a plug-in's function gives; False if it fails."""
    with suppress(PluginError, OSError, ValueError):
        return Path(model.locate()).samefile(source)
    return False
