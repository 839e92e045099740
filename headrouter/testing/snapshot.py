"""Record the state of a model that an attached listener might change."""

from collections.abc import Collection
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from headrouter.compat import hook_flags, hooks_of
from headrouter.models.backbone import Backbone
from headrouter.models.fingerprint import modules_of

Snapshot = dict[str, dict[str, Any]]
_SAMPLE: Final = 4096
ASPECTS: Final = ("structure", "attributes", "hooks", "hook flags", "modes", "processors", "weights")


def state(model: Module) -> dict[str, Any]:
    """Return the state of a model, comparable by ``==``: structure, attributes, hooks, processors, a sample of its weights.

    Weights may move, as they do when they are offloaded, but not change.
    """
    modules = dict(model.named_modules())
    processors = {path: module.processor for path, module in modules.items() if hasattr(module, "processor")}
    return {
        "structure": repr(model),
        "attributes": {path: sorted(module.__dict__) for path, module in modules.items()},
        "hooks": {path: hooks_of(module) for path, module in modules.items()},
        "hook flags": {path: hook_flags(module) for path, module in modules.items()},
        "modes": {path: module.training for path, module in modules.items()},
        "processors": {path: (id(processor), type(processor)) for path, processor in processors.items()},
        "weights": {
            name: (tuple(tensor.shape), tensor.dtype, tensor.requires_grad, _fingerprint(tensor))
            for name, tensor in model.state_dict(keep_vars=True).items()
        },
    }


def _fingerprint(tensor: Tensor) -> float | None:
    if type(tensor) not in (Tensor, Parameter) or tensor.is_meta:
        return None  # a quantised tensor has arithmetic of its own
    values = tensor.detach().flatten()[:: max(1, tensor.numel() // _SAMPLE)].to("cpu", torch.float32).double()
    return float((values * torch.linspace(1, 2, len(values), dtype=torch.float64, device="cpu")).sum())


def snapshot(backbone: Backbone) -> Snapshot:
    """Return the state of every model that a backbone holds."""
    return {path: state(module) for path, module in modules_of(backbone).items()}


def differences(before: Snapshot, after: Snapshot, aspects: Collection[str] = ASPECTS) -> str:
    """Return the differences between two snapshots in words; empty if there are none."""
    paths = sorted({*before, *after})
    pairs = ((aspect, path, before.get(path, {}), after.get(path, {})) for path in paths for aspect in aspects)
    return ", ".join(
        f"{aspect} of {path}" for aspect, path, one, other in pairs if one.get(aspect) != other.get(aspect)
    )
