"""Hold the plug-ins of this process in one registry.

>>> from headrouter.plugins import registry
>>> registry().backbone("flux")  # doctest: +SKIP
BackboneSpec(name='flux', ...)
"""

import os
import threading
import warnings

from headrouter.errors import PluginWarning
from headrouter.plugins.discovery import discover, installed
from headrouter.plugins.names import Entry
from headrouter.plugins.status import PluginStatus
from headrouter.plugins.store import Registry

__all__ = ["Entry", "PluginStatus", "Registry", "register", "registry", "reload"]

_lock = threading.RLock()
_registry: Registry | None = None


def registry() -> Registry:
    """Return the registry of all installed plug-ins, loaded on the first call; each failure is a :class:`PluginWarning`."""
    global _registry  # noqa: PLW0603
    with _lock:
        if _registry is not None:
            return _registry
        found = _registry = Registry()  # at once, for a plug-in that asks for the registry while it is imported
        try:
            discover(found, installed(), os.environ)
        except BaseException:
            _registry = None
            raise
    for row in found.statuses:
        if row.status in ("broken", "incompatible"):
            warnings.warn(f"headrouter {row.sentence}", PluginWarning, stacklevel=2)
        elif row.status == "ok" and row.message:
            warnings.warn(
                f"headrouter plug-in {row.name!r} of {row.distribution}: {row.message}", PluginWarning, stacklevel=2
            )
    return found


if hasattr(os, "register_at_fork"):  # a child never sees a registry that a thread it does not have is filling
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def reload() -> Registry:
    """Forget what is loaded, run-time registrations included, and look at the installed plug-ins again."""
    global _registry  # noqa: PLW0603
    with _lock:
        _registry = None
    return registry()


def register(plugin: object, *, name: str = "", override: bool = False) -> PluginStatus:
    """Take a module or object into this process's registry; see :meth:`Registry.register`."""
    return registry().register(plugin, name=name, override=override)
