"""Where the attention operation of a model is intercepted.

Joint models of diffusers end in one of two calls: PyTorch's ``scaled_dot_product_attention``, whose tensors are
``[rows, heads, tokens, channels]``, or an entry of diffusers' table of attention backends, ``[rows, tokens, heads,
channels]``. The first is seen by a torch function mode, the second by a wrapper around each entry of the table.
Whichever comes first at a site wins; what it calls inside passes. While torch.compile traces a block, both put
:func:`headrouter_diffusers.compiled.attention` into its graph, since what they ask of Python is asked once, then.
"""

import functools
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from headrouter_diffusers import compiled
from headrouter_diffusers.operation import Operation, listened
from headrouter_diffusers.running import current

_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_PRODUCT = compiled.numbered(functional.scaled_dot_product_attention, compiled.OPTIONS, native=True)


class TapProductAttention(TorchFunctionMode):
    """Hears ``scaled_dot_product_attention`` while a site is awaited. Scoped to one call of an attention processor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, by way of the listener where it is the operation of the awaited site."""
        kwargs = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        arguments = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        if torch.compiler.is_compiling():
            return compiled.attention(**arguments, kernel=_PRODUCT)
        forward = current()
        if forward is None or forward.armed is None:
            return func(*args, **kwargs)
        return listened(forward, func, arguments, native=True)


_lock = threading.Lock()
_wrapped: dict[Any, tuple[Operation, Operation]] = {}
_users = 0


@contextmanager
def tapped_backends() -> Iterator[None]:
    """Wrap the entries of diffusers' table of attention backends; the last user to leave restores them.

    The table belongs to the whole process. A wrapper does nothing in threads in which no tapped forward pass runs.
    """
    global _users  # noqa: PLW0603
    table = _AttentionBackendRegistry._backends
    with _lock:
        if _users == 0:
            for name, operation in table.items():
                _wrapped[name] = (operation, _tap_backend(name, operation))
            table.update({name: wrapper for name, (_, wrapper) in _wrapped.items()})
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for name, (operation, wrapper) in _wrapped.items():
                    if table.get(name) is wrapper:
                        table[name] = operation
                _wrapped.clear()


@functools.cache  # compiled code is made for one wrapper and would be made again for another
def _tap_backend(name: Any, operation: Operation) -> Operation:
    native = name == AttentionBackendName.NATIVE

    def heads_first(*, query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
        return _swap(operation(query=_swap(query), key=_swap(key), value=_swap(value), **others))

    taken = frozenset(inspect.signature(operation).parameters)
    kernel = compiled.numbered(heads_first, compiled.OPTIONS & taken, native=native)

    @functools.wraps(operation)
    def tapped(query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
        compiling = torch.compiler.is_compiling()
        forward = None if compiling else current()
        if not compiling and (forward is None or forward.armed is None):
            return operation(query=query, key=key, value=value, **others)
        mask = others.get("attn_mask")
        if mask is not None and mask.shape == (query.shape[0], key.shape[1]):  # this table's short form
            others["attn_mask"] = mask[:, None, None]
        arguments = {"query": _swap(query), "key": _swap(key), "value": _swap(value), **others}
        if forward is None:
            given = {name: value for name, value in arguments.items() if value is not None}
            return _swap(compiled.attention(**given, kernel=kernel))
        return _swap(listened(forward, heads_first, arguments, native=native))

    return tapped


def _swap(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2)
