"""Hold every use of PyTorch's private API by the core. Each function says what would take its place if PyTorch changed.

No other module of the core names a private thing of PyTorch; tests/core/test_compat.py holds each of these to what is expected.
"""

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


def hooks_of(module: Module) -> dict[str, dict[int, Any]]:
    """Return the hooks of a module by the kind that PyTorch keeps them under, for the comparison of before and after.

    Instead: nothing public lists hooks; the kit would no longer say that a backbone left one behind.
    """
    return {name: dict(value) for name, value in vars(module).items() if name.endswith("_hooks") and value}


def hook_flags(module: Module) -> dict[int, bool]:
    """Return which hooks before ``forward`` are given keyword arguments; as :func:`hooks_of`."""
    return dict(module._forward_pre_hooks_with_kwargs)
