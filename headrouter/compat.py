"""Hold every use of PyTorch's private API by the core. Each function says what would take its place if PyTorch changed.

No other module of the core names a private thing of PyTorch; tests/core/test_compat.py holds each of these to what is expected.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCT_ATTENTION: Final[Callable[..., Tensor]] = torch._C._nn.scaled_dot_product_attention
"""PyTorch's own attention, by which one that somebody put in its place is told apart, and which function modes are called with.

Instead: ``torch.nn.functional.scaled_dot_product_attention``, kept before anybody else could replace it.
"""

DispatchMode: Final = TorchDispatchMode
"""Class of modes that see every operation PyTorch runs, below what Python calls, for counting the bytes that it moves.

Instead: ``torch.overrides.TorchFunctionMode``, which does not see what an operation is made of.
"""

Attended = tuple[Tensor, Tensor]
"""Output, and the log-sum-exp of each query's logits."""


def chosen_kernel(query: Tensor, key: Tensor, value: Tensor, scale: float) -> int:
    """Return the number of the ``SDPBackend`` that PyTorch would take for these tensors.

    Instead: nothing public says so; without it the log-sum-exp comes from a second, chunked pass everywhere.
    """
    return torch._fused_sdp_choice(query, key, value, scale=scale)


def flash_on_cpu(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Attended:
    """Run the CPU's kernel by its own name, for the log-sum-exp that the public function keeps to itself.

    Instead, of all four: ``torch.nn.attention.flex_attention`` with ``return_lse``, whose output is not that of the model's kernel.
    """
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, log_sum_exp = attend(query, key, value, 0.0, False, scale=scale)
    return output, log_sum_exp


def flash(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Attended:
    """Run CUDA's flash attention; see :func:`flash_on_cpu`."""
    attend = torch.ops.aten._scaled_dot_product_flash_attention
    output, log_sum_exp, *_ = attend(query, key, value, 0.0, False, False, scale=scale)
    return output, log_sum_exp


def efficient(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Attended:
    """Run CUDA's memory-efficient attention; see :func:`flash_on_cpu`."""
    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    output, log_sum_exp, *_ = attend(query, key, value, None, True, 0.0, False, scale=scale)
    return output, log_sum_exp


def cudnn(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Attended:
    """Run cuDNN's attention; see :func:`flash_on_cpu`."""
    attend = torch.ops.aten._scaled_dot_product_cudnn_attention
    output, log_sum_exp, *_ = attend(query, key, value, None, True, 0.0, False, False, scale=scale)
    return output, log_sum_exp


def modules_within(module: Module) -> list[Module]:
    """Return a module and all within it, each once.

    Instead: ``module.modules()``, which takes ten times as long, a generator within a generator for each level.
    """
    found = {module: None}
    queue = [module]
    for each in queue:
        for child in each._modules.values():
            if child is not None and child not in found:
                found[child] = None
                queue.append(child)
    return queue


def first_weight(module: Module) -> Tensor | None:
    """Return the first parameter of a module, None if it has none.

    Instead: ``next(module.parameters(), None)``, which takes five times as long, and is asked at each model call.
    """
    for weight in module._parameters.values():
        if weight is not None:
            return weight
    for child in module._modules.values():
        if child is not None and (found := first_weight(child)) is not None:
            return found
    return None


def state_of(module: Module) -> dict[str, object]:
    """Return what a module saves, and the buffers that it does not save, by path.

    Instead: ``{**dict(module.named_buffers()), **module.state_dict(keep_vars=True)}``, which takes three times as long, and which
    is asked of a module with rules of its own for what it saves.
    """
    found: dict[str, object] = {}
    _collect(module, "", found, set())
    return found


def _collect(module: Module, prefix: str, found: dict[str, object], buffers: set[int]) -> None:
    """Add the state of a module at ``prefix``; see :func:`state_of`."""
    plain = _saves_plainly(type(module))  # type: ignore[arg-type]
    if not plain or module._state_dict_hooks or module._state_dict_pre_hooks:
        found.update(module.named_buffers(prefix[:-1]))
        module.state_dict(destination=found, prefix=prefix, keep_vars=True)
        return
    found.update((prefix + name, value) for name, value in module._parameters.items() if value is not None)
    for name, value in module._buffers.items():
        if value is not None and not (id(value) in buffers and name in module._non_persistent_buffers_set):
            found[prefix + name] = value
            buffers.add(id(value))
    for name, child in module._modules.items():
        if child is not None:
            _collect(child, f"{prefix}{name}.", found, buffers)


@functools.cache
def _saves_plainly(kind: type[Module]) -> bool:
    """Return whether a class saves nothing but its weights and buffers; see :func:`state_of`."""
    names = ("state_dict", "_save_to_state_dict", "get_extra_state", "named_buffers")
    return all(getattr(kind, name) is getattr(Module, name) for name in names)


def hooks_of(module: Module) -> dict[str, dict[int, Any]]:
    """Return the hooks of a module by the kind that PyTorch keeps them under, for the comparison of before and after.

    Instead: nothing public lists hooks; the kit would no longer say that a backbone left one behind.
    """
    attributes = vars(module)
    return {name: dict(attributes[name]) for name in _HOOKS if attributes.get(name)}


_HOOKS: Final = tuple(name for name in vars(Module()) if name.endswith("_hooks"))


def own_weights(module: Module) -> list[Tensor]:
    """Return the parameters of a module without those of the modules within it.

    Instead: ``module.parameters(recurse=False)``, four generators within each other, which take ten times as long.
    """
    return [weight for weight in module._parameters.values() if weight is not None]


def hook_flags(module: Module) -> dict[int, bool]:
    """Return which hooks before ``forward`` are given keyword arguments; as :func:`hooks_of`."""
    return dict(module._forward_pre_hooks_with_kwargs)
