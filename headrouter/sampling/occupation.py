"""Lets one run at a time use a backbone.

Whether a run goes on is read from the interpreter: its call is executing or it is not. So a run that was cut off between any two
lines, or that another process left in memory by a fork, never stands in the way of the next.
"""

import os
import sys
import threading
from types import FrameType
from typing import final
from weakref import WeakKeyDictionary

from headrouter.errors import IncompatibleError
from headrouter.models.backbone import Backbone

_lock = threading.RLock()
_occupied: "WeakKeyDictionary[Backbone, Occupation]" = WeakKeyDictionary()


@final
class Occupation:
    """Reserves a backbone for one run, as a context; methods would steer the model calls of another run."""

    def __init__(self, backbone: Backbone):
        """Note the calling function as the run."""
        self._backbone, self._thread = backbone, threading.get_ident()
        self._frame: FrameType | None = sys._getframe(1)

    def over(self) -> bool:
        """Return whether the calling function has ended, in whatever way."""
        frame = self._frame
        try:
            if frame is not None:
                frame.clear()  # refused while the call is executing
        except RuntimeError:
            return False
        self._frame = None
        return True

    def __enter__(self) -> "Occupation":
        """Occupy the backbone.

        Raises:
            IncompatibleError: it is in another run, of another thread or around this one.
        """
        with _lock:
            other = _occupied.get(self._backbone)
            if other is not None and not other.over():
                raise IncompatibleError(
                    f"{self._backbone.name} is in the middle of another run, whose methods would steer this one. Wait until that"
                    " one has ended, or give this one an editor with a model of its own."
                )
            _occupied[self._backbone] = self
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the backbone to others."""
        self._frame = None

    @staticmethod
    def _after_fork() -> None:
        """Forget, in a child process, the runs of threads that it does not have."""
        global _lock  # noqa: PLW0603
        _lock = threading.RLock()
        for occupation in list(_occupied.values()):
            if occupation._thread != threading.get_ident():
                occupation._frame = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Occupation._after_fork)
