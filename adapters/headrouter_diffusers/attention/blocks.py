"""Send the text stream to the listener as blocks are entered, and note the next site.

A compiled block is entered before its compiled code, which sees no hook that came after it.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, final
from weakref import WeakSet

import torch
from torch.nn import Module

from headrouter.attention.joint_attention import TextStream
from headrouter_diffusers import compat
from headrouter_diffusers.attention.inference import ordinary
from headrouter_diffusers.attention.running import Forward, current
from headrouter_diffusers.sites import FoundSite

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@final
class Entry:
    """Sends the text stream to the listener when a block is entered, as a forward pre-hook."""

    def __init__(self, found: FoundSite):
        """Find the argument that carries the text stream, if there is one."""
        self.block, self._found, self._text = found.block, found, found.rule.text
        if self._text is not None:
            self._place = list(inspect.signature(type(found.block).forward).parameters).index(self._text) - 1  # no self

    def __call__(self, _: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """Return the block's arguments as the listener changed them; None where it left them."""
        forward = self.forward()
        if forward is None or self._text is None:
            return None
        name, place = self._text, self._place
        given = kwargs[name] if name in kwargs else args[place]
        changed = _text_through_listener(forward, self._found, given)
        if changed is given:
            return None
        if changed.stride() != given.stride() and compat.compiled_code(self.block) is not None:
            changed = torch.empty_strided(given.shape, given.stride(), dtype=given.dtype, device=given.device).copy_(
                changed
            )  # its graph is for these strides
        if name in kwargs:
            return args, {**kwargs, name: changed}
        return (*args[:place], changed, *args[place + 1 :]), kwargs

    def forward(self) -> Forward | None:
        """Return the forward pass of this thread, if it is one of the site's model."""
        forward = current()
        return forward if forward is not None and forward.site_of(self._found.attention) is self._found else None

    def awaited(self, code: Callable[..., Any], forward: Forward, *args: Any, **kwargs: Any) -> Any:
        """Run compiled code whose attention operation is that of the site."""
        args, kwargs = self(self.block, args, kwargs) or (args, kwargs)
        with forward.awaiting(self._found.site):
            return code(*args, **kwargs)


@final
class _Entered:
    """Calls the compiled code of a block by way of an entry."""

    def __init__(self, code: Callable[..., Any], entry: Entry):
        self.code, self.entry = code, entry

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = self.entry.forward()
        return (
            self.code(*args, **kwargs) if forward is None else self.entry.awaited(self.code, forward, *args, **kwargs)
        )


_changed: "WeakSet[Module]" = WeakSet()
"""Blocks that may hold an entry."""


def settle_blocks(entries: Sequence[Entry]) -> None:
    """Let each block hold its entries among these, and no others."""
    for block in list(_changed):
        code = compat.compiled_code(block)
        if isinstance(code, _Entered) and all(code.entry is not entry for entry in entries):
            compat.set_compiled_code(block, code.code)
        for number, hook in compat.pre_hooks(block).items():
            if isinstance(hook, Entry) and all(hook is not entry for entry in entries):
                compat.remove_pre_hook(block, number)
        if all(entry.block is not block for entry in entries):
            _changed.discard(block)
    for entry in entries:
        block = entry.block
        _changed.add(block)
        code = compat.compiled_code(block)
        if code is None:
            if entry._text is not None and all(hook is not entry for hook in compat.pre_hooks(block).values()):
                block.register_forward_pre_hook(entry, with_kwargs=True)
        elif not isinstance(code, _Entered):
            compat.set_compiled_code(block, _Entered(code, entry))


def _text_through_listener(forward: Forward, found: FoundSite, given: torch.Tensor) -> torch.Tensor:
    """Return the block's argument as the listener changed it; the same object where it left it."""
    text, registers = forward.layout.text, forward.layout.registers
    if not found.rule.joined:  # the argument begins with the registers, if there are any, and ends with the text
        text = slice(registers.stop - registers.start, registers.stop - registers.start + text.stop - text.start)
        assert given.shape[1] == text.stop, f"{found.site.path}: {given.shape[1]} tokens, not {text.stop}"
    whole = given.shape[1] == text.stop - text.start
    hidden = given if whole else given[:, text]
    with forward.awaiting(None), ordinary():
        changed = forward.listener.text(TextStream(found.site, forward.rows, forward.listener.step_info, hidden))
    if changed is hidden:
        return given
    return changed if whole else torch.cat([given[:, : text.start], changed, given[:, text.stop :]], dim=1)
