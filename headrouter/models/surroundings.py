"""Keeps a run from depending on what the caller set for other code: autocast, gradients, default device and number type."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar, final
from weakref import WeakSet

import torch

_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Compute without autocast, inference mode and gradients, new tensors being float32 on the CPU unless they say otherwise.

    All but the default number type, which PyTorch keeps for the whole process, are this thread's own. A decorator too.

    >>> with torch.autocast("cpu", torch.bfloat16), undisturbed():
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if _Float32.inside or torch.get_default_dtype() != torch.float32:
            stack.enter_context(_Float32())
        yield


@final
class _Float32:
    """Makes float32 the default number type until the last of these contexts ends."""

    inside: ClassVar["WeakSet[_Float32]"] = WeakSet()
    outside: ClassVar[torch.dtype | None] = None
    lock: ClassVar = threading.RLock()

    def __enter__(self) -> None:
        with self.lock:
            self.inside.add(self)
            if torch.get_default_dtype() != torch.float32:
                _Float32.outside = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside.discard(self)
            if not self.inside and self.outside is not None:
                torch.set_default_dtype(self.outside)
                _Float32.outside = None
