"""Select variants of weights, such as fp16, in a folder or repository.

>>> variant_of("diffusion_pytorch_model.fp16.safetensors"), variant_of("model.fp16-00001-of-00002.safetensors")
('fp16', 'fp16')
>>> variant_of("model-00001-of-00002.safetensors"), variant_of("config.json")
('', None)
"""

import re
from collections.abc import Collection, Mapping

from headrouter.errors import WeightsError

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_WEIGHTS = re.compile(
    rf"(?:model|pytorch_model|diffusion_pytorch_model){_SHARD}(?:\.(?P<variant>[\w-]+?){_SHARD})?\.safetensors"
)


def variant_of(file: str) -> str | None:
    """Return the variant of a file of weights: empty for plain weights, None for any other file."""
    match = _WEIGHTS.fullmatch(file)
    return None if match is None else match["variant"] or ""


def files_of(files: Collection[str], variant: str | None) -> tuple[str | None, list[str]]:
    """Return the weights among some files, those of the variant or the plain ones, and which of both."""
    own = [file for file in files if variant is not None and variant_of(file) == variant]
    return (variant, own) if own else (None, [file for file in files if variant_of(file) == ""])


def check_variant(source: str, components: Mapping[str, Collection[str]], wanted: str | None) -> None:
    """Check that each component has weights of the variant that is asked for, or plain ones.

    Args:
        source: Hub id or folder, for messages.
        components: Names of the files of each component.
        wanted: The variant, None for plain weights.

    Raises:
        WeightsError: naming the variants that there are.
    """
    there = {
        name: {variant for file in files if (variant := variant_of(file)) is not None}
        for name, files in components.items()
    }
    every = sorted(set().union(*there.values()) - {""})
    if wanted is not None and wanted not in every:
        others = f"it has {_list(every)}" if every else "it has plain weights only; leave `variant` out"
        raise WeightsError(f"`variant` {wanted!r} is not among the weights of `model` {source!r}: {others}.")
    for name, variants in there.items():
        if variants and not variants & {"", wanted}:
            only = sorted(variants)
            raise WeightsError(
                f"`model` {source!r} has the weights of its {name!r} as {_list(only)} only"
                f" (asked for: {wanted or 'plain weights'}). Ask for it by `variant={only[0]!r}`."
            )


def _list(variants: Collection[str]) -> str:
    return f"variant {' and '.join(map(repr, variants))}"
