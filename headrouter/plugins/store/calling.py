"""Call the hooks of plug-ins, one plug-in at a time."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pluggy

from headrouter.errors import PluginWarning, reason_of


def implementations(
    manager: pluggy.PluginManager, hook: str, plugin: object | None = None
) -> Iterator[pluggy.HookImpl]:
    """Return implementations in the order of pluggy: last registered first, with ``tryfirst`` and ``trylast`` respected."""
    for impl in reversed(getattr(manager.hook, hook).get_hookimpls()):
        if plugin is None or impl.plugin is plugin:
            yield impl


def call(impl: pluggy.HookImpl, **arguments: Any) -> Any:
    """Call an implementation with those arguments that it takes; with HEADROUTER_TRACE_PLUGINS, print that."""
    if os.environ.get("HEADROUTER_TRACE_PLUGINS") == "1":
        print(f"headrouter: {impl.plugin_name} {impl.function.__name__}({', '.join(impl.argnames)})", file=sys.stderr)
    function: Callable[..., Any] = impl.function
    return function(*(arguments[name] for name in impl.argnames))


@contextmanager
def isolated(impl: pluggy.HookImpl, failure: str) -> Iterator[None]:
    """Turn any exception of a plug-in into a warning; let KeyboardInterrupt through, since it is the user's."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        message = f"headrouter plug-in {impl.plugin_name!r} {failure}: {reason_of(error)}"
        warnings.warn(message, PluginWarning, stacklevel=4)
