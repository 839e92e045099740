"""Record the attachments of each model, and bring models in line with them.

Attaching changes entries of a table that the whole process shares, the classes of processors, which models may share, and blocks.
The set of open attachments is the one truth. :func:`_settle` makes the three agree with it, whatever they were before, so after an
interrupt between any two lines it only has to run again.
"""

import os
import threading
from collections.abc import Sequence
from typing import final
from weakref import WeakSet

from torch.nn import Module

from headrouter.errors import IncompatibleError
from headrouter.models.backbone import AttentionListener
from headrouter_diffusers.attention.blocks import Entry, settle_blocks
from headrouter_diffusers.attention.interception import settle_operations
from headrouter_diffusers.attention.processors import settle_processors
from headrouter_diffusers.sites import FoundSite

_lock = threading.RLock()
_open: "WeakSet[Attachment]" = WeakSet()


@final
class Attachment:
    """Attaches a listener to a model, as a context; it ends at the latest when it is collected as garbage.

    Without a listener it only lets compiled blocks be traced, and found, as they are with one.
    """

    def __init__(self, model: Module, found: Sequence[FoundSite], listener: AttentionListener | None):
        """Prepare what the sites of ``model`` are given."""
        self._model, self._found, self._listener = model, found, listener
        self._thread = threading.get_ident()
        self._entries = [Entry(site) for site in found if site.joint and listener is not None]
        self._processors = [site.attention.processor for site in found]

    def __enter__(self) -> None:
        """Attach.

        Raises:
            IncompatibleError: the model already has a listener whose run goes on.
        """
        try:
            with _lock:
                for other in list(_open):
                    if other._model is not self._model or other._listener is None or self._listener is None:
                        continue
                    if other._listener.finished:
                        _open.discard(other)
                    else:
                        raise IncompatibleError(
                            f"{type(self._model).__name__} is already being steered, by another edit with the same pipeline."
                            " Wait until that one has ended, or give each its own pipeline."
                        )
                _open.add(self)
                _settle()
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        """Leave the model as it was."""
        try:
            self._close()
        except BaseException:
            self._close()  # what an interrupt cut off
            raise

    def __del__(self) -> None:
        """Close what an interrupt kept from being closed."""
        if self in _open:
            self._close()

    def _close(self) -> None:
        with _lock:
            _open.discard(self)
            _settle()

    @staticmethod
    def _after_fork() -> None:
        """Close, in a child process, what threads attached that it does not have."""
        global _lock  # noqa: PLW0603
        _lock = threading.RLock()
        for attachment in list(_open):
            if attachment._thread != threading.get_ident():
                _open.discard(attachment)
        _settle()


def listener_at(found: Sequence[FoundSite]) -> AttentionListener | None:
    """Return the listener that is attached to these sites, if one is."""
    with _lock:
        listeners = (attachment._listener for attachment in _open if attachment._found is found)
        return next((listener for listener in listeners if listener is not None), None)


def _settle() -> None:
    """Change what open attachments need, and change back what none needs."""
    wanted = list(_open)
    settle_operations(bool(wanted))
    settle_processors([processor for attachment in wanted for processor in attachment._processors])
    settle_blocks([entry for attachment in wanted for entry in attachment._entries])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Attachment._after_fork)
