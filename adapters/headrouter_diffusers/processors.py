"""Attention processors that note which site they work for.

A processor keeps its identity, attributes and signature; only its class is changed, to a subclass made for it. One
processor object may serve several attention modules, of one model or of two, so it carries no data of a site.
"""

import functools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import Module

from headrouter_diffusers.interception import TapProductAttention
from headrouter_diffusers.running import current

_lock = threading.Lock()
_users: dict[int, tuple[Any, type, int]] = {}
"""By the processor's id: the processor, its own class, how many taps use it."""


@contextmanager
def noting_sites(processors: Iterable[Any]) -> Iterator[None]:
    """Let each processor await the operation of the site it is called for; afterwards they have their own classes."""
    distinct = list({id(processor): processor for processor in processors}.values())
    with _lock:
        for processor in distinct:
            _, base, users = _users.get(id(processor), (None, type(processor), 0))
            _users[id(processor)] = (processor, base, users + 1)
            if not users:
                processor.__class__ = _noting(base)
    try:
        yield
    finally:
        with _lock:
            for processor in distinct:
                _, base, users = _users.pop(id(processor))
                if users > 1:
                    _users[id(processor)] = (processor, base, users - 1)
                else:
                    processor.__class__ = base


@functools.cache
def _noting(base: Any) -> Any:
    original = base.__call__
    dispatches = hasattr(base, "_attention_backend")  # to diffusers' table, which is tapped by itself

    @functools.wraps(original)
    def call(self: Any, attention: Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # which site it is, its block knows when the graph runs
            with nullcontext() if dispatches else TapProductAttention():
                return original(self, attention, *args, **kwargs)
        forward = current()
        found = None if forward is None else forward.site_of(attention)
        if forward is None or found is None:
            return original(self, attention, *args, **kwargs)
        with forward.awaiting(found.site), TapProductAttention():
            return original(self, attention, *args, **kwargs)

    names = {name: getattr(base, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(base.__name__, (base,), {**names, "__call__": call})
