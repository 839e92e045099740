"""Load the installed plug-ins one by one; a broken one becomes a warning and a row, not an error."""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from types import ModuleType
from typing import Final

from headrouter.errors import PluginError, printable, reason_of
from headrouter.plugins.names import BUILT_IN, fold
from headrouter.plugins.status import PluginStatus
from headrouter.plugins.store import Registry
from headrouter.version import __version__

GROUP: Final = "headrouter"
"""The entry-point group of plug-ins."""
_REQUIRED: Final = re.compile(r"\s*([A-Za-z0-9._-]+)")


def installed() -> list[Distribution]:
    """Return the distributions with entry points of the group ``headrouter``: headrouter's own first, then by name.

    Of several distributions of one name on the path, the first counts, as for every import.
    """
    found: dict[str, Distribution] = {}
    for each in distributions():
        if _mentions_group(each):
            name = _name(each)
            found.setdefault(name or f"nameless {len(found)}", _first(name) or each)
    return [found[name] for name in sorted(found, key=lambda name: (name != BUILT_IN, name))]


def discover(registry: Registry, found: Iterable[Distribution], environ: Mapping[str, str]) -> None:
    """Load each entry point into ``registry``; every one of them becomes a row of ``registry.statuses``.

    Variables in ``environ``, lists separated by commas, by distribution or entry-point name:
        HEADROUTER_PLUGINS: only these, besides headrouter's own; the empty text means none.
        HEADROUTER_DISABLE_PLUGINS: not these, headrouter's own included.
        HEADROUTER_STRICT_PLUGINS: ``1`` raises what a plug-in raises instead of isolating it.
    """
    for each in found:
        row = PluginStatus("", _name(each) or "unknown", _version(each), "")
        try:
            points = sorted(each.entry_points.select(group=GROUP), key=lambda point: point.name)
        except Exception as error:
            _break(registry, replace(row, name=row.distribution), error, environ)
            continue
        misfit = cache(partial(_incompatible, each))  # every look at the metadata parses them anew
        for point in points:
            _load(registry, point, replace(row, name=point.name, module=point.value), misfit, environ)


def _load(
    registry: Registry, point: EntryPoint, row: PluginStatus, misfit: Callable[[], str], environ: Mapping[str, str]
) -> None:
    """Load one plug-in and record its status; let KeyboardInterrupt through, since it is the user's."""
    if reason := _disabled(row, environ):
        registry.statuses.append(replace(row, status="disabled", message=reason))
        return
    try:
        if reason := misfit():
            registry.statuses.append(replace(row, status="incompatible", message=reason))
        else:
            registry.admit(_module(point), row)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _break(registry, row, error, environ)


def _break(registry: Registry, row: PluginStatus, error: BaseException, environ: Mapping[str, str]) -> None:
    if environ.get("HEADROUTER_STRICT_PLUGINS") == "1":
        raise error
    registry.statuses.append(replace(row, status="broken", message=reason_of(error)))


def _module(point: EntryPoint) -> ModuleType:
    module = point.load()
    if not isinstance(module, ModuleType):
        raise PluginError(f"the entry point must name a module (got {point.value!r})")
    return module


# ---- metadata, which may be damaged or gone


def _first(name: str) -> Distribution | None:
    """Return the distribution of that name that comes first on the path."""
    with suppress(PackageNotFoundError):
        return distribution(name) if name else None
    return None


def _mentions_group(found: Distribution) -> bool:
    try:
        return f"[{GROUP}]" in (found.read_text("entry_points.txt") or "")
    except UnicodeDecodeError as error:
        return f"[{GROUP}]".encode() in error.object
    except OSError:
        return True  # whoever reads the entry points says why they cannot be read


def _name(found: Distribution) -> str:
    """Return the folded name, empty if the metadata has none."""
    return fold(_header(found, "Name"))


def _version(found: Distribution) -> str:
    return _header(found, "Version")


def _header(found: Distribution, key: str) -> str:
    try:
        metadata = found.metadata
        return printable(" ".join(str(metadata[key]).split())) if key in metadata else ""
    except Exception:  # each Python says in another way that there is no metadata
        return ""


def _disabled(row: PluginStatus, environ: Mapping[str, str]) -> str:
    names = {fold(row.name), row.distribution}
    if names & _listed(environ.get("HEADROUTER_DISABLE_PLUGINS", "")):
        return "HEADROUTER_DISABLE_PLUGINS names it"
    allowed = environ.get("HEADROUTER_PLUGINS")
    if allowed is not None and row.distribution != BUILT_IN and not names & _listed(allowed):
        return "HEADROUTER_PLUGINS does not name it"
    return ""


def _listed(text: str) -> set[str]:
    return {fold(name) for name in text.split(",") if name.strip()}


def _incompatible(found: Distribution) -> str:
    """Read from the metadata, before any import: code written for another version gets no chance to explode."""
    if not _name(found):
        raise PluginError(
            f"its metadata in '{found.locate_file('')}' has no name, as if half removed; install the plug-in again, or "
            "delete its .dist-info folder"
        )
    for text in found.requires or ():
        named = _REQUIRED.match(text)
        if named is None or fold(named[1]) != BUILT_IN:
            continue  # what else it requires is the installer's business
        from packaging.requirements import Requirement

        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and not requirement.specifier.contains(__version__, prereleases=True):
            return f"it requires headrouter{requirement.specifier}, this is headrouter {__version__}"
    return ""
