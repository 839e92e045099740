"""Read what is published of released weights, which a plug-in keeps in a file beside it, and work out their memory.

The file is JSON: ``models`` by name, and ``components`` by name, each with the configuration that its weights are counted from.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, final

from pydantic import Field

from headrouter.config.configuration import Parameters, validate
from headrouter.errors import PluginError, reason_of
from headrouter.plugins.specifications import Model

_BYTES = {"bfloat16": 2.0, "float32": 4.0, "8 bits": 1.0, "4 bits": 0.5 + 4 / 64}
"""Bytes of a weight; 64 weights of 4 bits share a float32."""
_AT_ONCE = 2
"""Layers that offloading by groups has on the device: the one that computes, and the next, which is on its way."""


class Component(Parameters):
    """Describes one model of a pipeline.

    Attributes:
        kind: Name of its class in diffusers or transformers.
        configuration: What differs from the defaults of the class.
        role: ``text`` stays in bfloat16; ``quantised`` is shrunk where a format is named alone; ``autoencoder`` is in float32.
        weights: Number of all weights.
        linear: Number of those in linear layers, which formats of 8 and 4 bits shrink.
        largest_linear, largest_other: Number of those of the largest single layer, linear and not.
    """

    kind: str
    configuration: Mapping[str, Any]
    role: Literal["text", "quantised", "autoencoder"]
    weights: int = Field(gt=0)
    linear: int = Field(ge=0)
    largest_linear: int = Field(ge=0)
    largest_other: int = Field(ge=0)

    def bytes(self, precision: str) -> float:
        """Return the bytes of its weights where ``bfloat16``, ``8 bits`` or ``4 bits`` is asked of the pipeline."""
        usual = _BYTES["float32" if self.role == "autoencoder" else "bfloat16"]
        shrunk = self.linear if self.role == "quantised" else 0
        return shrunk * _BYTES[precision] + (self.weights - shrunk) * usual

    def largest(self, precision: str) -> float:
        """Return the bytes of its largest layer."""
        usual = _BYTES["float32" if self.role == "autoencoder" else "bfloat16"]
        linear = _BYTES[precision] if self.role == "quantised" else usual
        return max(self.largest_linear * linear, self.largest_other * usual)


class Constants(Parameters):
    """Describes constants that were published of an inversion on a model.

    Attributes:
        inversion: Name of the inversion.
        presets: Names of the presets that hold them, if any.
        values: The constants, in words.
        source: Paper, file or repository that they come from.
    """

    inversion: str
    presets: tuple[str, ...] = ()
    values: str
    source: str


class Facts(Parameters):
    """Holds what is published of a model beside its defaults.

    Attributes:
        shift: Shift of the time grid, in words.
        text: Number of text tokens by encoder.
        components: Names of its components.
        constants: Constants published of inversions; empty where none were found.
        sources: Where steps, guidance, shift and licence were read.
        remark: What could not be verified, or is particular.
    """

    shift: str
    text: Mapping[str, int]
    components: tuple[str, ...]
    constants: tuple[Constants, ...] = ()
    sources: tuple[str, ...]
    remark: str = ""


class _File(Parameters):
    components: Mapping[str, Component]
    models: Mapping[str, Facts]


@final
@dataclass(frozen=True, slots=True)
class Memory:
    """Holds the bytes of a pipeline's weights, without what a run needs beside.

    Attributes:
        bfloat16, eight_bits, four_bits: All of them on the device, in that precision.
        grouped: On the device at once, in bfloat16 with ``offload="group"``; the rest is in main memory.
        grouped_eight_bits: The same with 8 bits; bitsandbytes' 4 bits cannot be offloaded by groups.
    """

    bfloat16: float
    eight_bits: float
    four_bits: float
    grouped: float
    grouped_eight_bits: float


def facts_of(model: Model) -> tuple[Facts, Memory] | None:
    """Return what is published of a registered model and the memory of its weights; None where its plug-in says nothing.

    Raises:
        PluginError: the file is missing, or is not of that form.
    """
    if not model.facts:
        return None
    content = _read(model.facts)
    try:
        facts = content.models[f"{model.backbone}/{model.name}"]
        parts = [content.components[name] for name in facts.components]
    except KeyError as error:
        raise PluginError(f"model {model.name!r}: {model.facts} says nothing of {error.args[0]!r}. Add it.") from error
    total = {precision: sum(part.bytes(precision) for part in parts) for precision in _BYTES}
    layer = {precision: _AT_ONCE * max(part.largest(precision) for part in parts) for precision in _BYTES}
    return facts, Memory(total["bfloat16"], total["8 bits"], total["4 bits"], layer["bfloat16"], layer["8 bits"])


def components_in(file: str) -> Mapping[str, Component]:
    """Return the components that a file of facts, ``"package:name.json"``, describes."""
    return _read(file).components


@functools.cache
def _read(file: str) -> _File:
    package, _, name = file.partition(":")
    try:
        return validate(_File, json.loads(files(package).joinpath(name).read_text(encoding="utf-8")))
    except Exception as error:  # a plug-in's file may be anything
        raise PluginError(f"the facts of a model could not be read from '{file}': {reason_of(error)}.") from error
