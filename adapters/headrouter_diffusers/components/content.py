"""Hash a pipeline by content: its weights wherever they are kept, and the settings beside them."""

import functools
import json
from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

from accelerate.utils import align_module_device
from safetensors import safe_open
from torch import Tensor
from torch.nn import Module

from headrouter.models.fingerprint import fingerprint, settings_of, tensors_of
from headrouter_diffusers import compat


def pipeline_fingerprint(pipeline: Any) -> str:
    """Return a hash of all that is in a pipeline now, LoRA weights and quantised ones included.

    Not where it was loaded from, in what precision, and where it computes.
    """
    parts = {name: compat.uncompiled(part) for name, part in pipeline.components.items() if part is not None}
    tensors = (pair for name, part in parts.items() if isinstance(part, Module) for pair in _tensors(part, f"{name}."))
    return fingerprint(tensors, {name: _settings(part) for name, part in parts.items()})


def _tensors(model: Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    on_disk = dict(found for module in model.modules() for found in compat.tensors_on_disk(module))
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


def _settings(part: Any) -> dict[str, Any]:
    """Return the configuration of a component without defaults, a tokenizer's words, and LoRA scales."""
    found: dict[str, Any] = {"class": type(part).__name__}
    configuration: Any = getattr(part, "config", None)
    if hasattr(configuration, "to_diff_dict"):
        found["configuration"] = settings_of(configuration.to_diff_dict())
    elif configuration is not None:
        usual = _parameters(type(part))  # type: ignore[arg-type]
        given = {name: _plain(value) for name, value in configuration.items()}
        unusual = {name for name, value in given.items() if name not in usual or value != _plain(usual[name].default)}
        found["configuration"] = settings_of({name: given[name] for name in unusual})
    tokenizer = getattr(part, "tokenizer", part)
    if hasattr(tokenizer, "get_vocab"):
        found["words"] = tokenizer.get_vocab()
    if isinstance(part, Module):
        found["adapters"] = {name: _adapters(module) for name, module in part.named_modules() if _has_adapters(module)}
    return found


@functools.cache
def _parameters(component: type) -> Mapping[str, Parameter]:
    return signature(component).parameters


def _plain(value: Any) -> str:
    """Return a value as text, equal for a tuple and for the list that it becomes in a file."""
    return json.dumps(value, sort_keys=True, default=str)


def _has_adapters(module: Module) -> bool:
    return isinstance(vars(module).get("scaling"), Mapping) and hasattr(module, "active_adapters")


def _adapters(layer: Any) -> dict[str, Any]:
    return {
        "active": list(layer.active_adapters),
        "off": bool(layer.disable_adapters),
        "merged": list(layer.merged_adapters),
        "scaling": {str(name): float(value) for name, value in layer.scaling.items()},
    }
