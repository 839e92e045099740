"""Check a plug-in, and collect the parts that it brings."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import pluggy

from headrouter.errors import PluginError
from headrouter.plugins import hookspecs
from headrouter.plugins.names import BUILT_IN, Entry, fold
from headrouter.plugins.specifications import (
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    EditorSpec,
    ExecutorSpec,
    InversionSpec,
    MaskSpec,
    MethodSpec,
    MetricSpec,
    Model,
    OperatorSpec,
    Preset,
)
from headrouter.plugins.status import PluginStatus
from headrouter.plugins.store.calling import call, implementations

REGISTERS: Final[Mapping[str, type[ComponentSpec] | type[Model] | type[Preset]]] = {
    "register_backbones": BackboneSpec,
    "register_inversions": InversionSpec,
    "register_velocity_operators": OperatorSpec,
    "register_methods": MethodSpec,
    "register_masks": MaskSpec,
    "register_models": Model,
    "register_presets": Preset,
    "register_datasets": DatasetSpec,
    "register_metrics": MetricSpec,
    "register_editors": EditorSpec,
    "register_executors": ExecutorSpec,
}
"""The hooks that collect descriptions, in the order they are called, and what each collects."""


def check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Check the hooks of a plug-in that the manager has taken.

    Raises:
        PluginError: a hook that is not marked, that there is not, or that wraps others.
    """
    known = [name for name in vars(hookspecs) if hasattr(manager.hook, name)]
    for name in known:
        if callable(getattr(plugin, name, None)) and not list(implementations(manager, name, plugin)):
            raise PluginError(f"'{name}' is a hook and lacks its mark; write `@hookimpl` above it")
    for caller in manager.get_hookcallers(plugin) or ():
        if not caller.has_spec():
            close = get_close_matches(caller.name, known, n=1)
            suggestion = f"; did you mean '{close[0]}'?" if close else ""
            raise PluginError(f"there is no hook '{caller.name}'{suggestion}")
        if any(impl.plugin is plugin and (impl.wrapper or impl.hookwrapper) for impl in caller.get_hookimpls()):
            raise PluginError(f"hook '{caller.name}' is called one plug-in at a time and cannot be wrapped")


def collect(
    manager: pluggy.PluginManager, plugin: object, origin: PluginStatus, override: bool, there: Sequence[Entry]
) -> list[Entry]:
    """Return what a plug-in registers, beside the entries that are ``there``.

    Raises:
        PluginError: something that cannot be registered, or is already.
    """
    entries: list[Entry] = []
    over: set[str] = set()
    taken = {_key(entry.item) for entry in there if entry.distribution == origin.distribution and not override}
    for hook, accepted in REGISTERS.items():

        def register(item: ComponentSpec | Model | Preset, hook: str = hook, accepted: type = accepted) -> None:
            if hook in over:
                raise PluginError(f"{hook} is over; call `register` before it returns, {item!r} comes too late")
            if type(item) is not accepted:
                raise PluginError(f"{hook} takes {accepted.__name__} (got {item!r})")
            if _key(item) in taken:
                raise PluginError(f"{described(item)!r} is registered twice by {origin.distribution}")
            taken.add(_key(item))
            entries.append(Entry(item, origin.distribution, origin.name, override))

        for impl in implementations(manager, hook, plugin):
            answer = call(impl, register=register)
            if answer is not None:
                raise PluginError(f"{hook} must call `register` and return nothing (got {answer!r})")
        over.add(hook)
    return entries


def shadowed(entry: Entry, there: Sequence[Entry]) -> str:
    """Return a remark on the names of an entry that headrouter's own parts have already; empty if none."""
    if entry.distribution == BUILT_IN or entry.override:
        return ""
    own = [other for other in there if other.distribution == BUILT_IN and _sort(other.item) == _sort(entry.item)]
    lost = sorted(entry.words & {word for other in own for word in other.words})
    if not lost:
        return ""
    words = ", ".join(map(repr, lost))
    return f"{words} is headrouter's own {_sort(entry.item)}; write {entry.qualified_name!r} for this one."


def _sort(item: ComponentSpec | Model | Preset) -> str:
    """Return the space of names of an entry; models and presets of different components may share a name."""
    if isinstance(item, ComponentSpec):
        return item.kind
    return f"{item.component[0]} {fold(item.component[1])} {item.kind}"


def _key(item: ComponentSpec | Model | Preset) -> tuple[str, str]:
    return _sort(item), fold(item.name)


def described(item: ComponentSpec | Model | Preset) -> str:
    """Return the kind and name of a part, as text."""
    return f"{item.kind} {item.name}"
