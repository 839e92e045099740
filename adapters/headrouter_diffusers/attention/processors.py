"""Mark attention processors with the site that they work for.

A processor keeps its identity, attributes and signature; only its class is changed, to a subclass made for it. One
processor object may serve several attention modules, of one model or of two, so it carries no data of a site.
"""

import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import Module

from headrouter_diffusers import compat
from headrouter_diffusers.attention.interception import TapProductAttention
from headrouter_diffusers.attention.running import current

_changed: dict[int, tuple[Any, type]] = {}
"""By the processor's id: a processor that may have another class, and its own class."""


def settle_processors(processors: Sequence[Any]) -> None:
    """Let each of these processors await its site's operation, and give others their own classes."""
    wanted = {id(processor): processor for processor in processors}
    for number, (processor, base) in list(_changed.items()):
        if number not in wanted:
            processor.__class__ = base
            _changed.pop(number, None)
    for number, processor in wanted.items():
        _, base = _changed.setdefault(number, (processor, type(processor)))
        processor.__class__ = _noting(base)


@functools.cache
def _noting(base: Any) -> Any:
    original = base.__call__
    dispatches = compat.dispatches(base)  # to diffusers' table, which is tapped by itself

    @functools.wraps(original)
    def call(self: Any, attention: Module, *args: Any, **kwargs: Any) -> Any:
        mode = nullcontext() if dispatches else TapProductAttention()
        if torch.compiler.is_compiling():  # which site it is, its block knows when the graph runs
            with mode:
                return original(self, attention, *args, **kwargs)
        forward = current()
        found = None if forward is None else forward.site_of(attention)
        if forward is None or found is None:
            return original(self, attention, *args, **kwargs)
        with forward.awaiting(found.site), mode:
            return original(self, attention, *args, **kwargs)

    names = {name: getattr(base, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(base.__name__, (base,), {**names, "__call__": call})
