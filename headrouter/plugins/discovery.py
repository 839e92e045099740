"""Load the installed plug-ins one by one, so that a broken one is a warning and a row, never a dead command."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import Distribution, EntryPoint, entry_points
from textwrap import shorten
from types import ModuleType

from headrouter import __version__
from headrouter.errors import PluginError
from headrouter.plugins.names import BUILT_IN, fold
from headrouter.plugins.status import PluginStatus
from headrouter.plugins.store import Registry


def installed() -> list[EntryPoint]:
    """The entry points of the group ``headrouter``: headrouter's own first, then by distribution and name."""
    return sorted(entry_points(group="headrouter"), key=_order)


def discover(registry: Registry, points: Iterable[EntryPoint], environ: Mapping[str, str]) -> None:
    """Load each entry point into ``registry``; every one of them becomes a row of ``registry.statuses``.

    Variables in ``environ``, lists separated by commas, by distribution or entry-point name:
        HEADROUTER_PLUGINS: only these, besides headrouter's own; the empty text means none.
        HEADROUTER_DISABLE_PLUGINS: not these, headrouter's own included.
        HEADROUTER_STRICT_PLUGINS: ``1`` raises what a plug-in raises instead of isolating it.
    """
    for point in points:
        row = _origin(point)
        if reason := _disabled(row, environ):
            registry.statuses.append(replace(row, status="disabled", message=reason))
        elif reason := _incompatible(point.dist):
            registry.statuses.append(replace(row, status="incompatible", message=reason))
        else:
            try:
                registry.admit(_module(point), row)
            except (Exception, SystemExit) as error:
                if environ.get("HEADROUTER_STRICT_PLUGINS") == "1":
                    raise
                registry.statuses.append(replace(row, status="broken", message=_reason(error)))


def _module(point: EntryPoint) -> ModuleType:
    module = point.load()
    if not isinstance(module, ModuleType):
        raise PluginError(f"the entry point must name a module (got {point.value!r})")
    return module


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    row = _origin(point)
    return row.distribution != BUILT_IN, row.distribution, row.name


def _origin(point: EntryPoint) -> PluginStatus:
    distribution = fold(point.dist.name) if point.dist else "unknown"
    version = point.dist.version if point.dist else ""
    return PluginStatus(point.name, distribution, version, point.value)


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


def _incompatible(distribution: Distribution | None) -> str:
    """Read from the metadata, before any import: code written for another version gets no chance to explode."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in (distribution.requires or ()) if distribution else ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if (
            fold(requirement.name) == BUILT_IN
            and applies
            and not requirement.specifier.contains(__version__, prereleases=True)
        ):
            return f"it requires headrouter{requirement.specifier}, this is headrouter {__version__}"
    return ""


def _reason(error: BaseException) -> str:
    text = shorten(str(error), width=300)
    if isinstance(error, PluginError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
