"""Hold plug-ins and the parts that they registered, and find parts by name."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import pluggy

from headrouter.errors import PluginError
from headrouter.plugins import hookspecs
from headrouter.plugins.commands import Subcommands, adopt
from headrouter.plugins.names import Entry, fold, resolve
from headrouter.plugins.specifications import (
    SUPPORTED_API,
    BackboneSpec,
    ComponentSpec,
    InversionSpec,
    Kind,
    MethodSpec,
    Model,
    Preset,
)
from headrouter.plugins.status import PluginStatus
from headrouter.plugins.store.admission import REGISTERS, check_hooks, collect, described, shadowed
from headrouter.plugins.store.calling import call, implementations, isolated

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
            check_hooks(self._manager, plugin)
            entries = collect(self._manager, plugin, origin, override, self._entries)
        except BaseException:
            if self._manager.has_plugin(identity):
                self._manager.unregister(name=identity)
            raise
        status = replace(origin, registers=(*(described(entry.item) for entry in entries), *self._other_hooks(plugin)))
        if remarks := [remark for entry in entries if (remark := shadowed(entry, self._entries))]:
            status = replace(status, message=" ".join(remarks))
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

    def _other_hooks(self, plugin: object) -> list[str]:
        callers = self._manager.get_hookcallers(plugin) or ()
        return sorted(caller.name for caller in callers if caller.name not in REGISTERS)

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
        for impl in implementations(self._manager, "identify_backbone"):
            found = self._ask(impl, model_index, source)
            if found is not None:
                return found
        return None

    def _ask(self, impl: pluggy.HookImpl, model_index: Mapping[str, Any], source: str) -> BackboneSpec | None:
        with isolated(impl, f"failed to identify {source!r}"):
            answer = call(impl, model_index=model_index, source=source)
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
        for impl in reversed(list(implementations(self._manager, "register_commands"))):
            with isolated(impl, "added no command"):
                adopt(subcommands, partial(call, impl))

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
