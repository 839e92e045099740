"""Hash a pipeline by content: its weights wherever they are kept, and the settings beside them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from accelerate.utils import align_module_device
from safetensors import safe_open
from torch import Tensor
from torch.nn import Module

from headrouter.compat import modules_within
from headrouter.models.fingerprint import fingerprint, tensors_of, text_of
from headrouter_diffusers import compat
from headrouter_diffusers.components.described import configuration_text, joined, words_text

Hash = Callable[[Iterable[tuple[str, Tensor]], bytes], str]


def pipeline_fingerprint(pipeline: Any, hashed: Hash = fingerprint) -> str:
    """Return a hash of all that is in a pipeline now, LoRA weights and quantised ones included.

    Not where it was loaded from, in what precision, and where it computes.

    Args:
        pipeline: Of diffusers.
        hashed: Gives the hash of tensors and of the text of their settings.
    """
    parts = {name: compat.uncompiled(part) for name, part in pipeline.components.items() if part is not None}
    models = {name: (part, modules_within(part)) for name, part in parts.items() if isinstance(part, Module)}
    tensors = (pair for name, (part, modules) in models.items() for pair in _tensors(part, modules, f"{name}."))
    settings = {name: _settings(part, models[name][1] if name in models else None) for name, part in parts.items()}
    return hashed(tensors, joined(settings).encode())


def _tensors(model: Module, modules: Sequence[Module], prefix: str) -> Iterator[tuple[str, Tensor]]:
    on_disk = dict(compat.tensors_on_disk(modules))
    for name, tensor in tensors_of(model):
        if id(tensor) in on_disk:
            path, key = on_disk[id(tensor)]
            with safe_open(path, framework="pt") as file:
                yield prefix + name, file.get_tensor(key)
        elif tensor.is_meta:
            owner, _, leaf = name.rpartition(".")
            with align_module_device(model.get_submodule(owner), "cpu"):
                yield prefix + name, getattr(model.get_submodule(owner), leaf).detach()
        else:
            yield prefix + name, tensor


def _settings(part: Any, modules: Sequence[Module] | None) -> str:
    """Return the configuration of a component without defaults, a tokenizer's words and padding, and LoRA scales, as text."""
    found = {"class": text_of(type(part).__name__)}
    if getattr(part, "config", None) is not None:
        found["configuration"] = configuration_text(part)
    tokenizer = getattr(part, "tokenizer", part)
    if hasattr(tokenizer, "get_vocab"):
        found["words"] = words_text(tokenizer)
        found["padding"] = text_of([tokenizer.model_max_length, tokenizer.pad_token_id])
    if modules is not None:
        found["adapters"] = text_of(
            {name: _adapters(module) for name, module in part.named_modules() if _has_adapters(module)}
            if any(map(_has_adapters, modules))
            else {}
        )
    return joined(found)


def _has_adapters(module: Module) -> bool:
    return isinstance(vars(module).get("scaling"), Mapping) and hasattr(module, "active_adapters")


def _adapters(layer: Any) -> dict[str, Any]:
    return {
        "active": list(layer.active_adapters),
        "off": bool(layer.disable_adapters),
        "merged": list(layer.merged_adapters),
        "scaling": {str(name): float(value) for name, value in layer.scaling.items()},
    }
