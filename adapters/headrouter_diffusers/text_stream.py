"""The text stream as it enters the blocks of a model."""

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


@contextmanager
def listening_blocks(sites: Iterable[FoundSite]) -> Iterator[None]:
    """Pass the text stream through the listener before each block of a joint site."""
    with ExitStack() as stack:
        for found in sites:
            if found.joint and found.rule.text is not None:
                handle = found.block.register_forward_pre_hook(_hook(found, found.rule.text), with_kwargs=True)
                stack.callback(handle.remove)
        yield


def _hook(found: FoundSite, name: str) -> Callable[[Module, tuple[Any, ...], dict[str, Any]], Arguments | None]:
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
