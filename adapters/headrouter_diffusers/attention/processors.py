"""Mark attention processors with the site that they work for.

A processor keeps its identity, attributes and signature; only its class is changed, to a subclass made for it. One
processor object may serve several attention modules, of one model or of two, so it carries no data of a site.
"""

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import FunctionType
from typing import Any

import torch
from torch.nn import Module

from headrouter_diffusers import compat
from headrouter_diffusers.attention.interception import TapProductAttention
from headrouter_diffusers.attention.running import current


def signatures_of(processors: Sequence[Any]) -> dict[FunctionType, inspect.Signature]:
    """Return the signatures of the functions that run when processors are called, for :func:`signatures_known`."""
    functions = {type(processor).__call__ for processor in processors}
    return {
        each: inspect.signature(each)
        for each in functions
        if isinstance(each, FunctionType) and "__signature__" not in vars(each)
    }


@contextmanager
def signatures_known(signatures: Mapping[FunctionType, inspect.Signature]) -> Iterator[None]:
    """Let functions carry their signatures until the context ends.

    Attention layers of diffusers ask at every call for that of their processor's ``__call__``, and Python gives the one that a
    function carries in a third of the time that it takes to make it: one or two per cent of a call of a small model.
    """
    for function, signature in signatures.items():
        function.__signature__ = signature  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for function in signatures:
            vars(function).pop("__signature__", None)  # another thread may have been first


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

    call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    names = {name: getattr(base, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(base.__name__, (base,), {**names, "__call__": call})
