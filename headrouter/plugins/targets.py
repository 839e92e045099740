"""Import an attribute that a plug-in names as ``module:attribute``, and turn any failure into a sentence."""

import os
import pkgutil
from pathlib import Path
from typing import Any

from headrouter.errors import PluginError, reason_of


def import_target(target: str, what: str, hint: str = "") -> Any:
    """Return the attribute that ``target`` names.

    Args:
        target: ``module:attribute``.
        what: Whose it is, for the message: ``"method 'acme'"``.
        hint: Next step when it cannot be imported.

    Raises:
        PluginError: whatever importing raises, KeyboardInterrupt excepted.
    """
    try:
        return pkgutil.resolve_name(target)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(
            f"{what} could not be imported from '{target}': {reason_of(error)}. {hint}".rstrip()
        ) from error


def call_target(target: str, what: str) -> Any:
    """Call the function that ``target`` names, without arguments, and return its result.

    Raises:
        PluginError: whatever importing or calling it raises, KeyboardInterrupt excepted.
    """
    function = import_target(target, what)
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"{what}: '{target}' failed, {reason_of(error)}.") from error


def folder_of(source: str) -> str:
    """Return the folder of bundled weights, which the function named by ``source`` gives.

    Raises:
        PluginError: it fails, or gives something else than the path of a folder.
    """
    what = "the source of a model"
    found = call_target(source, what)
    try:
        folder = os.fsdecode(found)
        if Path(folder).is_dir():
            return folder
        came = repr(folder)
    except Exception:
        came = f"a {type(found).__name__}"
    raise PluginError(f"{what}: '{source}' must return the folder of its weights (got {came}).")
