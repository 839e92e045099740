"""Intercept the attention operation of a model.

Joint models of diffusers end in one of two calls: PyTorch's ``scaled_dot_product_attention``, whose tensors are
``[rows, heads, tokens, channels]``, or an entry of diffusers' table of attention backends, ``[rows, tokens, heads,
channels]``. The first is seen by a torch function mode, the second by a wrapper around each entry of the table. Where
another function is in the place of PyTorch's, no mode sees it, and it is wrapped like an entry of the table.
Whichever comes first at a site wins; what it calls inside passes. While torch.compile traces a block, both put
:func:`headrouter_diffusers.attention.compiled.attention` into its graph, since what they ask of Python is asked once, then.
"""

import functools
import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from headrouter.attention.kernels import attention_is_replaced
from headrouter.compat import PRODUCT_ATTENTION
from headrouter_diffusers import compat
from headrouter_diffusers.attention import compiled, log_sum_exp
from headrouter_diffusers.attention.operation import Operation, through_listener
from headrouter_diffusers.attention.running import current

_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_PRODUCT = compiled.numbered(PRODUCT_ATTENTION, compiled.OPTIONS, native=True)


class TapProductAttention(TorchFunctionMode):
    """Intercepts ``scaled_dot_product_attention`` while a site is awaited. Scoped to one call of an attention processor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, through the listener where it is the operation of the awaited site."""
        kwargs = kwargs or {}
        if func is not PRODUCT_ATTENTION:
            return func(*args, **kwargs)
        arguments = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        if torch.compiler.is_compiling():
            return compiled.attention(**arguments, kernel=_PRODUCT)
        forward = current()
        if forward is None or forward.armed is None:
            return func(*args, **kwargs)
        return through_listener(forward, func, arguments, native=not compat.modes_of_others(TapProductAttention))


_wrapped: dict[Any, tuple[dict[Any, Any], Operation, Operation]] = {}
"""By name: the table whose entry may be wrapped, the entry, and its wrapper."""


def settle_operations(wanted: bool) -> None:
    """Wrap the entries of diffusers' table of attention backends, and what replaces PyTorch's operation, or restore them.

    Both belong to the whole process. A wrapper does nothing in threads in which no tapped forward pass runs.
    """
    for name, (table, operation, wrapper) in list(_wrapped.items()):
        if not wanted:
            if table.get(name) is wrapper:
                table[name] = operation
            _wrapped.pop(name, None)
    if not wanted:
        return
    backends = compat.attention_backends()
    places: list[tuple[dict[Any, Any], Any, Any]] = [(backends, name, _tap_backend) for name in list(backends)]
    if attention_is_replaced():
        places.append((vars(functional), "scaled_dot_product_attention", _tap_replacement))
    for table, name, tap in places:
        operation = table[name]
        if name not in _wrapped or _wrapped[name][2] is not operation:
            wrapper = tap(name, operation)
            _wrapped[name] = (table, operation, wrapper)
            table[name] = wrapper


@functools.cache
def _tap_replacement(_: str, operation: Operation) -> Operation:
    def attend(*, query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
        return operation(query, key, value, **others)  # whatever it calls them

    parameters = inspect.signature(operation).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    kernel = compiled.numbered(
        attend, compiled.OPTIONS if anything else compiled.OPTIONS & set(parameters), native=False
    )

    @functools.wraps(operation)
    def tapped(*args: Any, **kwargs: Any) -> Tensor:
        compiling = torch.compiler.is_compiling()
        forward = None if compiling else current()
        if not compiling and (forward is None or forward.armed is None):
            return operation(*args, **kwargs)
        arguments = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        if forward is None:
            given = {name: value for name, value in arguments.items() if value is not None}
            output: Tensor = compiled.attention(**given, kernel=kernel)
            return output
        return through_listener(forward, attend, arguments, native=False)

    return tapped


@functools.cache  # compiled code is made for one wrapper and would be made again for another
def _tap_backend(name: Any, operation: Operation) -> Operation:
    native = compat.is_default_backend(name, operation)

    def heads_first(*, query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
        return _swap(operation(query=_swap(query), key=_swap(key), value=_swap(value), **others))

    both = log_sum_exp.from_backend(name, operation)
    taken = frozenset(inspect.signature(operation).parameters)
    kernel = compiled.numbered(heads_first, compiled.OPTIONS & taken, native=native, with_log_sum_exp=both)

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
        untouched = not compat.modes_of_others(TapProductAttention)
        own = both if untouched else None
        return _swap(through_listener(forward, heads_first, arguments, native and untouched, own))

    return tapped


def _swap(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2)
