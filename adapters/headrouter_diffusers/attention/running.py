"""Track the forward pass of this thread, and the site that is attending.

Everything that intercepts a model asks here first, and leaves alone whatever does not belong to the forward pass of a
tapped model: other models, other threads, the text encoders, side calls.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import final
from weakref import WeakKeyDictionary

from torch.nn import Module

from headrouter.attention.joint_attention import Site, TokenLayout
from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import AttentionListener
from headrouter_diffusers.sites import FoundSite


@final
class Forward:
    """Tracks one forward pass of a tapped model.

    Attributes:
        listener: Receives its events.
        rows: The rows of its batch.
        layout: Its joint sequence.
        armed: The site whose attention operation is awaited, or None.
        fired: Number of runs of each site's operation.
    """

    def __init__(
        self,
        listener: AttentionListener,
        rows: tuple[BatchRow, ...],
        layout: TokenLayout,
        sites: Mapping[Module, FoundSite],
    ):
        """Begin a forward pass, with ``sites`` by their attention modules."""
        self.listener, self.rows, self.layout = listener, rows, layout
        self.armed: Site | None = None
        self.fired: Counter[str] = Counter()
        self._sites = sites
        image = layout.image.stop - layout.image.start
        self._image_layout = TokenLayout(slice(0, 0), slice(0, image), layout.grid, ())
        self._image_sites = {found.block: found.site for found in sites.values() if not found.joint}
        self._blocks = {found.site.path: found.block for found in sites.values()}

    def site_of(self, attention: Module) -> FoundSite | None:
        """Return the site of an attention module, None if it is not one of this model's."""
        return self._sites.get(attention)

    def attending(self, queries: int, keys: int) -> tuple[Site | None, TokenLayout]:
        """Return the site whose operation runs, recognised by the length of its sequence, and that sequence.

        A compiled block is one operation after another for whoever awaits it: those over image tokens alone are its image site's.
        """
        site = self.armed
        assert site is not None
        if site.stream != "image" and queries == keys == self.layout.length:
            return site, self.layout
        if queries == keys == self._image_layout.length:
            return self._image_sites.get(self._blocks[site.path]), self._image_layout
        return None, self.layout

    @contextmanager
    def awaiting(self, site: Site | None) -> Iterator[None]:
        """Await the operation of ``site``; with None, let operations pass."""
        before, self.armed = self.armed, site
        try:
            yield
        finally:
            self.armed = before


class _Local(threading.local):
    forward: Forward | None = None


_local = _Local()


def current() -> Forward | None:
    """Return the tapped forward pass that runs in this thread, if any."""
    return _local.forward


_guard = threading.Lock()
_owned: "WeakKeyDictionary[Module, AbstractContextManager[bool]]" = WeakKeyDictionary()


@contextmanager
def exclusively(model: Module) -> Iterator[None]:
    """Let one thread at a time use the pipeline whose transformer is ``model``.

    Tokenizers fail when two threads encode at once, an autoencoder changes its precision while it works, and hooks that
    offload weights move them under another thread's feet.
    """
    with _guard:
        lock = _owned.setdefault(model, threading.RLock())
    with lock:
        yield


@contextmanager
def entering(forward: Forward) -> Iterator[None]:
    """Make ``forward`` the current one of this thread."""
    before, _local.forward = _local.forward, forward
    try:
        yield
    finally:
        _local.forward = before


def _after_fork() -> None:
    """Forget, in a child process, the locks of threads that it does not have."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    _owned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
