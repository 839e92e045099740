"""Estimate the memory that a model's weights take, from the headers of their files."""

import functools
import json
import struct
from pathlib import Path
from typing import Final

from headrouter.editing.assembly import model_of
from headrouter.experiments.configuration import Configuration
from headrouter.models.weights import find_weights
from headrouter.plugins import registry
from headrouter.plugins.specifications import Model

_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_WIDEST_HEADER: Final = 100_000_000


def missing_weights_of(configuration: Configuration) -> str:
    """Return a sentence that says which weights are not here, and how to get them; empty if they are."""
    source, gated = _source(configuration.backbone_name, configuration.model)
    state = find_weights(source, gated=gated)
    if state.usable or (state.state == "incomplete" and Path(source).is_file()):
        return ""
    return f"the weights of {configuration.group} ({configuration.model}) are {state.state}: {state.remark}."


def weight_bytes(configuration: Configuration) -> int:
    """Return the bytes of the weights in the precision of a configuration; 0 where no files say."""
    source, gated = _source(configuration.backbone_name, configuration.model)
    state = find_weights(source, gated=gated)
    if state.state in ("absent", "gated"):
        return 0
    folder = Path(state.remark if state.usable else source)
    return _elements(folder) * _BYTES[configuration.backbone.dtype] if folder.is_dir() else 0


def _source(backbone: str, model: str) -> tuple[str, bool]:
    source = model_of(backbone, model or None)[0]
    known = [one for one in registry().models(backbone) if isinstance(one, Model) and one.source == source]
    return source, any(one.gated for one in known)


@functools.cache
def _elements(folder: Path) -> int:
    """Count the numbers in all safetensors files of a folder."""
    return sum(_elements_of(file) for file in folder.rglob("*.safetensors"))


def _elements_of(file: Path) -> int:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > _WIDEST_HEADER:
            return 0
        header = json.loads(opened.read(length))
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return sum(functools.reduce(lambda product, side: product * int(side), shape, 1) for shape in shapes)
