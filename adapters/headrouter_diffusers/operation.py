"""The attention operation of a model, turned into a :class:`headrouter.joint_attention.JointAttention` event.

Joint models of diffusers end in one of two calls: PyTorch's ``scaled_dot_product_attention``, whose tensors are
``[rows, heads, tokens, channels]``, or an entry of diffusers' table of attention backends, ``[rows, tokens, heads,
channels]``. The first is seen by a torch function mode, the second by a wrapper around each entry of the table.
Whichever comes first at a site wins; what it calls inside passes.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from headrouter.errors import IncompatibleError
from headrouter.joint_attention import Attend, JointAttention
from headrouter_diffusers.running import Forward, current

Operation = Callable[..., Tensor]


class TapProductAttention(TorchFunctionMode):
    """Hears ``scaled_dot_product_attention`` while a site is awaited. Scoped to one call of an attention processor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, by way of the listener where it is the operation of the awaited site."""
        kwargs = kwargs or {}
        forward = current()
        if func is not functional.scaled_dot_product_attention or forward is None or forward.armed is None:
            return func(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        return _tapped(forward, func, arguments, native=True)


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


def _tap_backend(name: Any, operation: Operation) -> Operation:
    native = name == AttentionBackendName.NATIVE

    @functools.wraps(operation)
    def tapped(query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
        forward = current()
        if forward is None or forward.armed is None:
            return operation(query=query, key=key, value=value, **others)

        def heads_first(*, query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
            swapped = {"query": _swap(query), "key": _swap(key), "value": _swap(value)}
            return _swap(operation(**swapped, **others))

        arguments = {"query": _swap(query), "key": _swap(key), "value": _swap(value), **others}
        mask = others.get("attn_mask")
        if mask is not None and mask.shape == (
            query.shape[0],
            key.shape[1],
        ):  # this table's own short form: [rows, keys]
            arguments["attn_mask"] = mask[:, None, None]
        return _swap(_tapped(forward, heads_first, arguments, native=native))

    return tapped


def _swap(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2)


def _tapped(forward: Forward, operation: Operation, arguments: dict[str, Any], native: bool) -> Tensor:
    """Run ``operation`` by way of the listener. Tensors are ``[rows, heads, tokens, channels]``."""
    query, key, value = (arguments.pop(name) for name in ("query", "key", "value"))
    attend: Attend = lambda query, key, value: operation(query=query, key=key, value=value, **arguments)  # noqa: E731
    site, length = forward.armed, forward.layout.length
    assert site is not None
    with forward.awaiting(None):
        if query.shape[2] != length or key.shape[2] != length:
            return attend(query, key, value)  # a side call, for instance an image prompt's
        if arguments.get("is_causal"):
            raise IncompatibleError(f"{site.path} attends causally; joint attention looks both ways.")
        forward.fired[site.path] += 1
        event = JointAttention(
            site,
            forward.layout,
            forward.rows,
            forward.listener.clock,
            query,
            key,
            value,
            attend,
            scale=arguments.get("scale"),
            bias=_four_dimensional(arguments.get("attn_mask")),
            native=native and not arguments.get("dropout_p") and not arguments.get("enable_gqa"),
        )
        output = forward.listener.attention(event)
    assert output.shape[:3] == query.shape[:3], f"{site.path}: {tuple(output.shape)} for {tuple(query.shape)}"
    return output


def _four_dimensional(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[(None,) * (4 - mask.ndim)] if mask.ndim < 4 else mask
