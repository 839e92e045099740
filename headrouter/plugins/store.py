"""Keep the registry of plug-ins, of the parts that they bring, and of the names of parts."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, TypeVar, cast

import pluggy

from headrouter.errors import PluginError, PluginWarning, reason_of
from headrouter.plugins import hookspecs
from headrouter.plugins.commands import Subcommands, adopt
from headrouter.plugins.names import BUILT_IN, Entry, fold, resolve
from headrouter.plugins.specifications import (
    SUPPORTED_API,
    BackboneSpec,
    ComponentSpec,
    DatasetSpec,
    EditorSpec,
    ExecutorSpec,
    InversionSpec,
    Kind,
    MaskSpec,
    MethodSpec,
    MetricSpec,
    Model,
    OperatorSpec,
    Preset,
)
from headrouter.plugins.status import PluginStatus

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

Item = TypeVar("Item", bound=ComponentSpec | Model | Preset)


class Registry:
    """Holds plug-ins and the parts that they registered. A plug-in is taken in whole or not at all."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("headrouter")
        self._manager.add_hookspecs(hookspecs)
        self._entries: list[Entry] = []
        self.statuses: list[PluginStatus] = []

    # ---- taking plug-ins in

    def register(self, plugin: object, *, name: str = "", override: bool = False) -> PluginStatus:
        """Take in a plug-in at run time: a module, or any object with the hooks as methods.

        Args:
            plugin: has ``headrouter_api`` and hook implementations, like the module of an installed plug-in.
            name: for tables; by default the name of the module or class.
            override: its names win over all others, headrouter's own included; the last such registration wins.

        Raises:
            PluginError: the plug-in breaks a rule. Nothing of it remains registered then.
        """
        module = getattr(plugin, "__name__", type(plugin).__qualname__)
        return self.admit(plugin, PluginStatus(name or module, "runtime", "", module), override=override)

    def admit(self, plugin: object, origin: PluginStatus, *, override: bool = False) -> PluginStatus:
        """Take in a plug-in that came from ``origin``; see :meth:`register`."""
        api = getattr(plugin, "headrouter_api", None)
        if type(api) is not int or api not in SUPPORTED_API:
            speaks = ", ".join(map(str, sorted(SUPPORTED_API)))
            raise PluginError(
                f"`headrouter_api` is {'missing' if api is None else repr(api)}, this headrouter speaks {speaks}"
            )
        identity = f"{origin.distribution}:{origin.name}"
        if self._manager.has_plugin(identity):
            raise PluginError(f"a plug-in {identity!r} is registered already; unregister it or give another `name`")
        try:
            self._manager.register(plugin, name=identity)
            self._check_hooks(plugin)
            entries = self._collect(plugin, origin, override)
        except BaseException:
            if self._manager.has_plugin(identity):
                self._manager.unregister(name=identity)
            raise
        status = replace(origin, registers=(*map(_describe, entries), *self._other_hooks(plugin)))
        if shadowed := [remark for entry in entries if (remark := self._shadowed(entry))]:
            status = replace(status, message=" ".join(shadowed))
        self._entries += entries
        self.statuses.append(status)
        return status

    def unregister(self, plugin: object) -> None:
        """Take out a plug-in and everything it registered."""
        identity = self._manager.get_name(plugin)
        if identity is None:
            raise PluginError(f"{plugin!r} is not a registered plug-in")
        self._manager.unregister(plugin)
        self._entries = [entry for entry in self._entries if f"{entry.distribution}:{entry.plugin}" != identity]
        self.statuses = [row for row in self.statuses if f"{row.distribution}:{row.name}" != identity]

    def _check_hooks(self, plugin: object) -> None:
        known = [name for name in vars(hookspecs) if hasattr(self._manager.hook, name)]
        for name in known:
            if callable(getattr(plugin, name, None)) and not list(self._implementations(name, plugin)):
                raise PluginError(f"'{name}' is a hook and lacks its mark; write `@hookimpl` above it")
        for caller in self._manager.get_hookcallers(plugin) or ():
            if not caller.has_spec():
                close = get_close_matches(caller.name, known, n=1)
                suggestion = f"; did you mean '{close[0]}'?" if close else ""
                raise PluginError(f"there is no hook '{caller.name}'{suggestion}")
            if any(impl.plugin is plugin and (impl.wrapper or impl.hookwrapper) for impl in caller.get_hookimpls()):
                raise PluginError(f"hook '{caller.name}' is called one plug-in at a time and cannot be wrapped")

    def _collect(self, plugin: object, origin: PluginStatus, override: bool) -> list[Entry]:
        entries: list[Entry] = []
        over: set[str] = set()
        taken = {
            _key(entry.item) for entry in self._entries if entry.distribution == origin.distribution and not override
        }
        for hook, accepted in REGISTERS.items():

            def register(item: ComponentSpec | Model | Preset, hook: str = hook, accepted: type = accepted) -> None:
                if hook in over:
                    raise PluginError(f"{hook} is over; call `register` before it returns, {item!r} comes too late")
                if type(item) is not accepted:
                    raise PluginError(f"{hook} takes {accepted.__name__} (got {item!r})")
                if _key(item) in taken:
                    raise PluginError(f"{_describe_item(item)!r} is registered twice by {origin.distribution}")
                taken.add(_key(item))
                entries.append(Entry(item, origin.distribution, origin.name, override))

            for impl in self._implementations(hook, plugin):
                answer = _call(impl, register=register)
                if answer is not None:
                    raise PluginError(f"{hook} must call `register` and return nothing (got {answer!r})")
            over.add(hook)
        return entries

    def _implementations(self, hook: str, plugin: object | None = None) -> Iterator[pluggy.HookImpl]:
        """Return implementations in the order of pluggy: last registered first, with ``tryfirst`` and ``trylast`` respected."""
        for impl in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            if plugin is None or impl.plugin is plugin:
                yield impl

    def _other_hooks(self, plugin: object) -> list[str]:
        callers = self._manager.get_hookcallers(plugin) or ()
        return sorted(caller.name for caller in callers if caller.name not in REGISTERS)

    def _shadowed(self, entry: Entry) -> str:
        if entry.distribution == BUILT_IN or entry.override:
            return ""
        own = [
            other
            for other in self._entries
            if other.distribution == BUILT_IN and _sort(other.item) == _sort(entry.item)
        ]
        lost = sorted(entry.words & {word for other in own for word in other.words})
        if not lost:
            return ""
        words = ", ".join(map(repr, lost))
        return f"{words} is headrouter's own {_sort(entry.item)}; write {entry.qualified_name!r} for this one."

    # ---- looking things up

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return the entries of all kinds, or of one (``"preset"`` included), in the order of registration."""
        return [entry for entry in self._entries if kind is None or entry.item.kind == kind]

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return the entry that a user's ``name`` stands for; the errors of :func:`headrouter.plugins.names.resolve`."""
        return resolve(kind, name, self.entries(kind), self._hints())

    def backbone(self, name: str) -> BackboneSpec:
        """Return the backbone of that name."""
        return self._find("backbone", name, BackboneSpec)

    def inversion(self, name: str) -> InversionSpec:
        """Return the inversion of that name."""
        return self._find("inversion", name, InversionSpec)

    def method(self, name: str) -> MethodSpec:
        """Return the method of that name."""
        return self._find("method", name, MethodSpec)

    def presets(self, kind: Kind | None = None, component: str = "") -> list[Preset]:
        """Return all presets, or those of a kind, or those of the component that this name stands for."""
        return [cast("Preset", entry.item) for entry in self._belonging("preset", kind, component)]

    def preset(self, kind: Kind, component: str, name: str) -> Preset:
        """Return the preset ``name`` of a component, with the errors and rules of every other name."""
        found = resolve(f"{kind} {component} preset", name, self._belonging("preset", kind, component), self._hints())
        return cast("Preset", found.item)

    def models(self, backbone: str) -> list[Model]:
        """Return the models of the backbone that this name stands for."""
        return [cast("Model", entry.item) for entry in self._belonging("model", "backbone", backbone)]

    def model(self, backbone: str, name: str) -> Model:
        """Return the model ``name`` of a backbone, with the errors and rules of every other name."""
        owner = self.entry("backbone", backbone).item.name
        found = resolve(f"{owner} model", name, self._belonging("model", "backbone", backbone), self._hints())
        return cast("Model", found.item)

    def qualified_name(self, item: ComponentSpec | Model | Preset) -> str:
        """Return ``distribution:name`` of a registered part."""
        return next(entry.qualified_name for entry in self._entries if entry.item is item)

    def identify_backbone(self, model_index: Mapping[str, Any], source: str) -> BackboneSpec | None:
        """Ask the plug-ins which backbone runs a model; warn of one that fails, and ask the next."""
        for impl in self._implementations("identify_backbone"):
            found = self._ask(impl, model_index, source)
            if found is not None:
                return found
        return None

    def _ask(self, impl: pluggy.HookImpl, model_index: Mapping[str, Any], source: str) -> BackboneSpec | None:
        with _isolated(impl, f"failed to identify {source!r}"):
            answer = _call(impl, model_index=model_index, source=source)
            if answer is None:
                return None
            if not isinstance(answer, str):
                raise PluginError(f"it must answer with the name of a backbone or None (got {answer!r})")
            distribution = impl.plugin_name.partition(":")[0]
            own = any(entry.qualified_name == f"{distribution}:{answer}" for entry in self.entries("backbone"))
            return self.backbone(f"{distribution}:{answer}" if own else answer)
        return None

    def add_commands(self, subcommands: "Subcommands[argparse.ArgumentParser]") -> None:
        """Let every plug-in add its subcommands; warn of one that fails or takes a name in use."""
        for impl in reversed(list(self._implementations("register_commands"))):
            with _isolated(impl, "added no command"):
                adopt(subcommands, partial(_call, impl))

    def _find(self, kind: Kind, name: str, accepted: type[Item]) -> Item:
        item = self.entry(kind, name).item
        assert isinstance(item, accepted)
        return item

    def _belonging(self, sort: str, kind: Kind | None, component: str) -> list[Entry]:
        """Return entries of models or presets that belong to a component."""
        entries = [
            entry
            for entry in self.entries(sort)
            if isinstance(entry.item, Model | Preset) and (kind is None or entry.item.component[0] == kind)
        ]
        if kind is None or not component:
            return entries
        owner = self.entry(kind, component)
        names = {fold(owner.item.name), fold(owner.qualified_name), *map(fold, owner.item.aliases)}
        return [e for e in entries if isinstance(e.item, Model | Preset) and fold(e.item.component[1]) in names]

    def _hints(self) -> Iterator[str]:
        return (row.sentence for row in self.statuses if row.status != "ok")


def _call(impl: pluggy.HookImpl, **arguments: Any) -> Any:
    if os.environ.get("HEADROUTER_TRACE_PLUGINS") == "1":
        print(f"headrouter: {impl.plugin_name} {impl.function.__name__}({', '.join(impl.argnames)})", file=sys.stderr)
    function: Callable[..., Any] = impl.function
    return function(*(arguments[name] for name in impl.argnames))


@contextmanager
def _isolated(impl: pluggy.HookImpl, failure: str) -> Iterator[None]:
    """Turn any exception of a plug-in into a warning; let KeyboardInterrupt through, since it is the user's."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        message = f"headrouter plug-in {impl.plugin_name!r} {failure}: {reason_of(error)}"
        warnings.warn(message, PluginWarning, stacklevel=4)


def _sort(item: ComponentSpec | Model | Preset) -> str:
    """Return the space of names of an entry; models and presets of different components may share a name."""
    if isinstance(item, ComponentSpec):
        return item.kind
    return f"{item.component[0]} {fold(item.component[1])} {item.kind}"


def _key(item: ComponentSpec | Model | Preset) -> tuple[str, str]:
    return _sort(item), fold(item.name)


def _describe_item(item: ComponentSpec | Model | Preset) -> str:
    return f"{item.kind} {item.name}"


def _describe(entry: Entry) -> str:
    return _describe_item(entry.item)
