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
    """Run attention, through the listener if this thread's forward pass awaits the operation of a site."""
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
    return output.clone(memory_format=torch.contiguous_format)  # new memory, in the layout that is promised below


@attention.register_fake
def _shape(query: Tensor, key: Tensor, value: Tensor, kernel: int, *options: Any) -> Tensor:
    return query.new_empty((*query.shape[:3], value.shape[3]))
