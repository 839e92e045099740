"""What a plug-in author imports: the marker of hooks, and the small descriptions of what a plug-in brings.

A plug-in is a module named in the entry-point group ``headrouter``. It states ``headrouter_api = 1`` and implements
hooks of :mod:`headrouter.hookspecs`. A description names its class as text, ``"module:Class"``, and the class is
imported when it is first used; so this module and every plug-in module stay light, and ``headrouter --help`` imports no
torch.
"""

import pkgutil
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast

import pluggy

from headrouter.errors import InvalidInputError, PluginError

if TYPE_CHECKING:
    from pydantic import BaseModel

hookimpl = pluggy.HookimplMarker("headrouter")
"""Marks a function of a plug-in as the implementation of the hook of the same name."""

SUPPORTED_API: Final[frozenset[int]] = frozenset({1})
"""The values of a plug-in's ``headrouter_api`` that this headrouter understands."""

Kind = Literal["backbone", "inversion", "method", "metric"]
KINDS: Final[tuple[Kind, ...]] = ("backbone", "inversion", "method", "metric")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """What the registry knows about a component before any of its code is imported.

    Args:
        name: lower-case letters, digits, ``.``, ``_``, ``-``; compared with ``_`` equal to ``-``.
        target: ``"module:Class"``, imported on first use.
        params: the pydantic model of its parameters, as a class or as ``"module:Class"``; by default it has none.
        aliases: further names, weaker than any name.
        summary: one line for tables.
        provides: capability words that other parts may ask for.
        requires: capability words that the parts beside it must provide.
        install_hint: what to do when the target cannot be imported, e.g. ``"pip install 'headrouter-acme[xl]'"``.

    Raises:
        InvalidInputError: a name, alias or target that is not of that form.
    """

    name: str
    target: str
    params: "type[BaseModel] | str" = "headrouter.configuration:Parameters"
    aliases: tuple[str, ...] = ()
    summary: str = ""
    provides: Set[str] = frozenset()
    requires: Set[str] = frozenset()
    install_hint: str = ""

    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        _require_name("name", self.name)
        for alias in self.aliases:
            _require_name("aliases", alias)
        _require_target("target", self.target)
        if isinstance(self.params, str):
            _require_target("params", self.params)
        object.__setattr__(self, "aliases", tuple(self.aliases))
        for words in ("provides", "requires"):
            if isinstance(getattr(self, words), str):
                raise InvalidInputError(f"`{words}` must be a set of words (got the text {getattr(self, words)!r}).")
            object.__setattr__(self, words, frozenset(getattr(self, words)))

    def load(self) -> Any:
        """Import and return what ``target`` names; :class:`PluginError` when that fails."""
        return _import(self, self.target)

    def params_class(self) -> "type[BaseModel]":
        """The pydantic model of the parameters, imported if it was given as text."""
        if isinstance(self.params, str):
            return cast("type[BaseModel]", _import(self, self.params))
        return self.params


@dataclass(frozen=True, slots=True)
class BackboneSpec(ComponentSpec):
    """A joint-attention model.

    Args:
        default_model: the hub id, or one of the short names in ``models``, used when the user names no model.
        models: short model names and what they stand for: a hub id, or ``"package:function"`` for a function without
            arguments that returns the folder of bundled weights.
        licence: of the weights, in words; one text, or one for each short name in ``models``.
        gated: the short names in ``models`` whose licence must be accepted on the hub before downloading.
    """

    default_model: str = ""
    models: Mapping[str, str] = field(default_factory=dict, hash=False)
    licence: str | Mapping[str, str] = field(default="", hash=False)
    gated: Set[str] = frozenset()

    kind: ClassVar[Kind] = "backbone"

    def __post_init__(self) -> None:
        ComponentSpec.__post_init__(self)
        object.__setattr__(self, "models", dict(self.models))
        object.__setattr__(self, "gated", frozenset(self.gated))
        if strangers := sorted(self.gated - self.models.keys()):
            raise InvalidInputError(f"`gated` must name keys of `models` (got {', '.join(strangers)}).")

    def licence_of(self, model: str) -> str:
        """The licence of the model with that short name."""
        return self.licence if isinstance(self.licence, str) else self.licence.get(model, "")


@dataclass(frozen=True, slots=True)
class InversionSpec(ComponentSpec):
    """A trajectory: how a picture is turned into noise, and how an edit comes back."""

    kind: ClassVar[Kind] = "inversion"


@dataclass(frozen=True, slots=True)
class MethodSpec(ComponentSpec):
    """Something that steers attention."""

    kind: ClassVar[Kind] = "method"


@dataclass(frozen=True, slots=True)
class MetricSpec(ComponentSpec):
    """A number that says how good an edit is."""

    kind: ClassVar[Kind] = "metric"


@dataclass(frozen=True, slots=True)
class Preset:
    """Parameter values that somebody found to work, and where they are from.

    Args:
        name: as for components; unique within the component.
        component: kind and name of the component the values belong to, e.g. ``("method", "headrouter")``.
        reference_steps: number of steps of the run in which the values were found, at least 1.
        values: parameter names of the component and their values.
        provenance: paper, table, file or experiment that the values come from.
        summary: one line for tables.
    """

    name: str
    component: tuple[Kind, str]
    reference_steps: int
    values: Mapping[str, int | float | str] = field(hash=False)
    provenance: str
    summary: str = ""

    aliases: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _require_name("name", self.name)
        if self.component[0] not in KINDS:
            raise InvalidInputError(f"`component` must begin with one of {', '.join(KINDS)} (got {self.component!r}).")
        if self.reference_steps < 1:
            raise InvalidInputError(f"`reference_steps` must be at least 1 (got {self.reference_steps}).")
        if not self.provenance:
            raise InvalidInputError(f"`provenance` of preset {self.name!r} is empty; say where its values come from.")
        object.__setattr__(self, "values", dict(self.values))


def _require_name(field_name: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`{field_name}` must be lower-case letters, digits, '.', '_', '-', first a letter or digit (got {name!r})."
        )


def _require_target(field_name: str, target: str) -> None:
    if not _TARGET.fullmatch(target):
        raise InvalidInputError(f"`{field_name}` must look like 'module:Class' (got {target!r}).")


def _import(spec: ComponentSpec, target: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except (ImportError, AttributeError) as error:
        hint = f" {spec.install_hint}" if spec.install_hint else ""
        raise PluginError(f"{spec.kind} {spec.name!r} could not be imported from '{target}': {error}.{hint}") from error
