"""The blocks of a model as they are entered: the text stream by way of the listener, and the site that is next.

A compiled block is entered before its compiled code, which sees no hook that came after it.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import Module

from headrouter.joint_attention import TextStream
from headrouter_diffusers.running import Forward, current
from headrouter_diffusers.sites import FoundSite

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Hook = Callable[[Module, tuple[Any, ...], dict[str, Any]], Arguments | None]


@contextmanager
def listening_blocks(sites: Iterable[FoundSite]) -> Iterator[None]:
    """Pass the text stream through the listener before each block of a joint site."""
    with ExitStack() as stack:
        for found in sites:
            if not found.joint:
                continue
            hook = None if found.rule.text is None else _hook(found, found.rule.text)
            code: Any = found.block._compiled_call_impl
            if code is not None:
                found.block._compiled_call_impl = _entered(found, code, hook)
                stack.callback(setattr, found.block, "_compiled_call_impl", code)
            elif hook is not None:
                stack.callback(found.block.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield


def _entered(found: FoundSite, code: Callable[..., Any], hook: Hook | None) -> Callable[..., Any]:
    """Compiled code whose attention operation is that of the block's site."""

    def enter(*args: Any, **kwargs: Any) -> Any:
        forward = current()
        if forward is None or forward.site_of(found.attention) is not found:
            return code(*args, **kwargs)
        if hook is not None:
            args, kwargs = hook(found.block, args, kwargs) or (args, kwargs)
        with forward.awaiting(found.site):
            return code(*args, **kwargs)

    return enter


def _hook(found: FoundSite, name: str) -> Hook:
    place = list(inspect.signature(type(found.block).forward).parameters).index(name) - 1  # without self

    def hook(_: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        forward = current()
        if forward is None or forward.site_of(found.attention) is not found:
            return None
        given = kwargs[name] if name in kwargs else args[place]
        heard = _heard(forward, found, given)
        if heard is given:
            return None
        if name in kwargs:
            return args, {**kwargs, name: heard}
        return (*args[:place], heard, *args[place + 1 :]), kwargs

    return hook


def _heard(forward: Forward, found: FoundSite, given: torch.Tensor) -> torch.Tensor:
    """The block's argument after the listener; the same object where the listener leaves it."""
    text, registers = forward.layout.text, forward.layout.registers
    if not found.rule.joined:  # the argument begins with the registers, if there are any, and ends with the text
        text = slice(registers.stop - registers.start, registers.stop - registers.start + text.stop - text.start)
        assert given.shape[1] == text.stop, f"{found.site.path}: {given.shape[1]} tokens, not {text.stop}"
    whole = given.shape[1] == text.stop - text.start
    hidden = given if whole else given[:, text]
    with forward.awaiting(None):
        heard = forward.listener.text(TextStream(found.site, forward.rows, forward.listener.clock, hidden))
    if heard is hidden:
        return given
    return heard if whole else torch.cat([given[:, : text.start], heard, given[:, text.stop :]], dim=1)
