"""Take the log-sum-exp from the kernels of diffusers' attention backends that give it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from headrouter.attention.kernels import Attended, attend_with_log_sum_exp, attention_is_replaced
from headrouter_diffusers import compat
from headrouter_diffusers.attention.operation import WithLogSumExp


def from_backend(name: Any, operation: Callable[..., Any]) -> WithLogSumExp | None:
    """Return what runs a backend over ``[rows, heads, tokens, channels]`` and gives the log-sum-exp too; None if it gives none."""
    only = compat.kernel_of_pytorch(name, operation)
    if only is not None:
        return _of_pytorch(only, operation)
    found = compat.gives_log_sum_exp(name, operation)
    return None if found is None else _of_backend(operation, *found)


def _of_pytorch(only: SDPBackend, operation: Callable[..., Tensor]) -> WithLogSumExp:
    """Return one kernel of PyTorch's, called by its own name where it would be chosen."""

    def attend(*, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, **others: Any) -> Attended:
        if attention_is_replaced():
            return _swap(operation(query=_swap(query), key=_swap(key), value=_swap(value), scale=scale, **others)), None
        if only == SDPBackend.CUDNN_ATTENTION:  # as diffusers calls it
            query, key, value = (tensor.contiguous() for tensor in (query, key, value))
        with sdpa_kernel(only):
            return attend_with_log_sum_exp(query, key, value, query.shape[-1] ** -0.5 if scale is None else scale)

    return attend


def _of_backend(operation: Callable[..., Any], keyword: str, tokens_first: bool) -> WithLogSumExp:
    """Return a backend that is asked for its log-sum-exp by a keyword."""

    def attend(*, query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Attended:
        tensors = {"query": _swap(query), "key": _swap(key), "value": _swap(value)}
        output, log_sum_exp = operation(**tensors, **others, **{keyword: True})
        found = log_sum_exp.mT if tokens_first else log_sum_exp
        return _swap(output), found[..., : query.shape[2]].to(torch.float32)  # some kernels pad

    return attend


def _swap(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2)
