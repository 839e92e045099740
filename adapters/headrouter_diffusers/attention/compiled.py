"""Replace the attention operation in the graph of a block that torch.compile compiles.

The forward pass and the site of an operation must be looked up at every run, and not once while the graph is traced. So the graph
calls one opaque operation, the same at all sites. Its run is not compiled; the code between two of them is.
"""

from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from headrouter_diffusers.attention.operation import Operation, WithLogSumExp, through_listener
from headrouter_diffusers.attention.running import current

OPTIONS: Final = frozenset({"attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"})
"""What kernels may be given beside query, key and value."""


@final
@dataclass(frozen=True)
class _Kernel:
    operation: Operation
    options: frozenset[str]
    native: bool
    with_log_sum_exp: WithLogSumExp | None


_kernels: list[_Kernel] = []


def numbered(
    operation: Operation, options: frozenset[str], *, native: bool, with_log_sum_exp: WithLogSumExp | None = None
) -> int:
    """Return the number by which a graph calls an operation over ``[rows, heads, tokens, channels]`` that takes these options."""
    _kernels.append(_Kernel(operation, options, native, with_log_sum_exp))
    return len(_kernels) - 1


@torch.library.custom_op("headrouter::attention", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel: int,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Run attention, through the listener if this thread's forward pass awaits the operation of a site.

    The output stays where the kernel wrote it; one with other strides than are promised, or in an input's memory, is copied.
    """
    chosen = _kernels[kernel]
    options = {
        "attn_mask": attn_mask,
        "dropout_p": dropout_p,
        "is_causal": is_causal,
        "scale": scale,
        "enable_gqa": enable_gqa,
    }
    arguments: dict[str, Any] = {name: options[name] for name in chosen.options}
    arguments |= {"query": query, "key": key, "value": value}
    forward = current()
    if forward is None or forward.armed is None:
        output = chosen.operation(**arguments)
    else:
        output = through_listener(forward, chosen.operation, arguments, chosen.native, chosen.with_log_sum_exp)
    promised = _promised(query.to("meta"), value)
    if output.stride() == promised.stride() and _memory(output) not in map(_memory, (query, key, value)):
        return output
    return torch.empty_like(promised, device=output.device).copy_(output)


def _promised(query: Tensor, value: Tensor) -> Tensor:
    """Return a tensor with the strides of the query, which flash and cuDNN write; contiguous where values have other channels."""
    same = query.shape[3] == value.shape[3]
    return torch.empty_like(query) if same else query.new_empty((*query.shape[:3], value.shape[3]))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@attention.register_fake
def _shape(query: Tensor, key: Tensor, value: Tensor, kernel: int, *options: Any) -> Tensor:
    return _promised(query, value)
