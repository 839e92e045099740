"""Define the parameters that every diffusers pipeline is loaded with: variant, quantisation, base."""

from abc import ABC
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from headrouter.models.backbone import BackboneParameters

Format = Literal["nf4", "int8", "int8-torchao", "fp8"]
"""Formats of quantised weights: bitsandbytes' NF4 and int8, torchao's int8 and float8."""
FORMATS: tuple[str, ...] = get_args(Format)


def _known(value: Any) -> Any:
    """Check the names of formats here, since a union of types would be refused once for each of them."""
    for name in value.values() if isinstance(value, Mapping) else (value,):
        if name is not None and name not in FORMATS:
            raise ValueError(
                f"must be one of {', '.join(FORMATS)}, or a mapping from components to them such as"
                " {'transformer': 'nf4'}"
            )
    return value


def _never_off(value: bool) -> bool:
    if not value:
        raise ValueError(
            "cannot be turned off for this model, which reads every word of a prompt through T5 alone. To save memory"
            " quantise it, or use `offload`"
        )
    return value


NeededT5 = Annotated[bool, BeforeValidator(_never_off)]
"""``t5`` of a model that has no other encoder for the words of a prompt."""


class DiffusersParameters(BackboneParameters, ABC):
    """Sets how a diffusers pipeline is loaded."""

    variant: str | None = Field(default=None, pattern=r"^[\w-]+$")
    """Variant of the weights, where a folder or repository holds several, such as ``fp16``. A component that has none of this
    variant loads its plain weights."""
    base: str | None = Field(default=None, min_length=1)
    """Source of the configuration and missing components of a single file (.safetensors, .gguf): hub id, folder or short name of a
    whole pipeline. By default the released model that the file is recognised as."""
    quantize: Annotated[Format | dict[str, Format] | None, BeforeValidator(_known)] = None
    """Format of the weights, quantised while they load: ``nf4`` or ``int8`` (bitsandbytes), ``int8-torchao`` or ``fp8`` (torchao),
    for the transformer and T5; or a mapping from components to formats."""
