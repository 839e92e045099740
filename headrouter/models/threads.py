"""Runs small models on the CPU with one thread, where the user leaves their number open.

PyTorch's threads wait for each other after every operation, and a small model's take microseconds. On two idle cores a second
thread makes an edit up to 1.3 times as fast; where another program has one of the cores, three to thirty times as slow, since each
operation waits for the thread that shares it. It is not chosen by the moment: the last bits of a picture depend on it.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from headrouter.models.backbone import Backbone
from headrouter.models.fingerprint import modules_of

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

SMALL: Final = 10_000_000
"""Parameters below which a model, text encoders and all, runs on one thread: at twice as many, two gain 1.9 times."""
_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

Method = TypeVar("Method", bound=Callable[..., Any])


def one_thread() -> AbstractContextManager[object]:
    """Compute with one thread in this context, in the calling thread alone; see :func:`fitting_threads`."""
    limit: AbstractContextManager[object] = _openmp().limit(limits=1)
    return limit


@contextmanager
def fitting_threads(backbone: Backbone) -> Iterator[None]:
    """Compute with one thread in this context if the model is small and on the CPU.

    Only the number of OpenMP threads of the calling thread changes: ``torch.set_num_threads`` would reach every thread that other
    code starts meanwhile, and stay with it. A number stays that came from ``torch.set_num_threads``, ``OMP_NUM_THREADS`` or
    ``MKL_NUM_THREADS``.
    """
    if torch.get_num_threads() == 1 or backbone.device.type != "cpu" or _size(backbone) >= SMALL or is_chosen():
        yield
        return
    with one_thread():
        yield


def on_fitting_threads(method: Method) -> Method:
    """Run a method of an object that has a ``backbone`` in :func:`fitting_threads`."""

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with fitting_threads(self.backbone):
            return method(self, *args, **kwargs)

    return run  # type: ignore[return-value]


def is_chosen() -> bool:
    """Return whether the user chose the number of threads.

    A thread that comes to PyTorch with a number of its own keeps it, unless ``torch.set_num_threads`` was called somewhere.
    """
    if any(os.environ.get(name) for name in _VARIABLES):
        return True
    found = []

    def look() -> None:
        with one_thread():
            found.append(torch.get_num_threads())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found != [1]


def _size(backbone: Backbone) -> int:
    return sum(weight.numel() for module in modules_of(backbone).values() for weight in module.parameters())


@functools.cache
def _openmp() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")
