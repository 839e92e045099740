"""Keeps a run from depending on what the caller set for other code: autocast, gradients, default device and number type."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, final
from weakref import WeakSet

import torch

_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def undisturbed(*, loading: bool = False) -> Iterator[None]:
    """Compute without autocast, inference mode and gradients, new tensors being float32 on the CPU unless they say otherwise.

    All but the default number type, which PyTorch keeps for the whole process, are this thread's own. A decorator too.

    Args:
        loading: Whether code within sets the default number type for a while, as transformers does while it loads, which a run that
            begins meanwhile in another thread must not take for the caller's.

    >>> with torch.autocast("cpu", torch.bfloat16), undisturbed():
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    if not loading and _is_undisturbed():
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if loading or _Float32.inside or torch.get_default_dtype() != torch.float32:
            stack.enter_context(_Float32())
        yield


def _is_undisturbed() -> bool:
    """Return whether all is already as :func:`undisturbed` makes it, as in most of its calls, which are within one another."""
    return not (
        torch.is_grad_enabled()
        or torch.is_inference_mode_enabled()
        or _Float32.inside
        or torch.get_default_dtype() != torch.float32
        or torch.get_default_device().type != "cpu"
        or any(map(torch.is_autocast_enabled, _DEVICES))
    )


@final
class _Float32:
    """Makes float32 the default number type until the last of these contexts ends."""

    inside: ClassVar["WeakSet[_Float32]"] = WeakSet()
    outside: ClassVar[torch.dtype | None] = None
    lock: ClassVar[Any] = threading.RLock()

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def __enter__(self) -> None:
        with self.lock:
            given, is_first = torch.get_default_dtype(), not self.inside
            self.inside.add(self)
            if given != torch.float32:
                _Float32.outside = given if is_first else self.outside
                torch.set_default_dtype(torch.float32)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside.discard(self)
            self.settle()

    @classmethod
    def settle(cls) -> None:
        """Set the number type that the caller had, once no context needs another."""
        if not cls.inside and cls.outside is not None:
            torch.set_default_dtype(cls.outside)
            cls.outside = None

    @classmethod
    def after_fork(cls) -> None:
        """Leave, in a child process, the contexts of threads that it does not have."""
        cls.lock = threading.RLock()
        for context in list(cls.inside):
            if context.thread != threading.get_ident():
                cls.inside.discard(context)
        cls.settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Float32.after_fork)
