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
from typing import Any, ClassVar, Final, Literal

import pluggy

from headrouter.errors import InvalidInputError, PluginError

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
        target: ``"module:Class"``, imported on first use. The class holds the component's parameters: it derives from
            :class:`~headrouter.backbone.BackboneParameters`, :class:`~headrouter.inversion.Inversion` or
            :class:`~headrouter.method.Method`, all pydantic models.
        aliases: further names, weaker than any name.
        summary: one line for tables.
        provides: capability words that other parts may ask for: of a backbone, all that any of its models provides.
        requires: capability words that the parts beside it must provide.
        install_hint: what to do when the target cannot be imported, e.g. ``"pip install 'headrouter-acme[xl]'"``.

    Raises:
        InvalidInputError: a name, alias or target that is not of that form.
    """

    name: str
    target: str
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
        object.__setattr__(self, "aliases", tuple(self.aliases))
        for words in ("provides", "requires"):
            if isinstance(getattr(self, words), str):
                raise InvalidInputError(f"`{words}` must be a set of words (got the text {getattr(self, words)!r}).")
            object.__setattr__(self, words, frozenset(getattr(self, words)))

    def load(self) -> Any:
        """Import and return what ``target`` names; :class:`PluginError` when that fails."""
        return _import(self, self.target)


@dataclass(frozen=True, slots=True)
class BackboneSpec(ComponentSpec):
    """A family of joint-attention models.

    Args:
        default_model: the :class:`Model`, by name, that is used when the user names none.
        testing: ``"module:function"`` without arguments that gives small models, a list of
            :class:`~headrouter.testing.BackboneSubject`, for ``headrouter conformance``.
    """

    default_model: str = ""
    testing: str = ""

    kind: ClassVar[Kind] = "backbone"


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
class Model:
    """Weights of a backbone, and what suits them.

    Args:
        name: as for components; unique within the backbone.
        backbone: name of the backbone that runs it, the plug-in's own or anybody's.
        source: a hub id, or ``"package:function"`` for a function without arguments that returns the folder of bundled weights.
        steps, guidance, area: sampling steps, guidance, and pixels of a training picture; 0 steps: as the backbone tells from
            the weights' configuration.
        licence: of the weights, in words.
        word_blocks: numbers of the joint blocks whose attention shows best where a word acts, best first; empty if nobody
            ranked them. They need ``steps`` and ``area`` beside them.
        gated: whether the licence must be accepted on the hub before downloading.
        summary: one line for tables.
    """

    name: str
    backbone: str
    source: str
    steps: int = 0
    guidance: float = 1.0
    area: int = 0
    licence: str = ""
    gated: bool = False
    summary: str = ""
    word_blocks: tuple[int, ...] = ()

    kind: ClassVar[Literal["model"]] = "model"
    aliases: ClassVar[tuple[str, ...]] = ()

    @property
    def component(self) -> tuple[Kind, str]:
        """What it belongs to."""
        return "backbone", self.backbone

    def __post_init__(self) -> None:
        _require_name("name", self.name)
        if not self.source:
            raise InvalidInputError(f"`source` of model {self.name!r} is empty; give a hub id or 'package:function'.")
        if (self.steps > 0) != (self.area > 0) or self.steps < 0 or self.guidance < 0:
            raise InvalidInputError(
                f"`steps` and `area` of model {self.name!r} must both be positive, or both 0 (got {self.steps}, {self.area})."
            )
        blocks = tuple(self.word_blocks)
        object.__setattr__(self, "word_blocks", blocks)
        if blocks and (not self.steps or min(blocks) < 0 or len(set(blocks)) < len(blocks)):
            raise InvalidInputError(
                f"`word_blocks` of model {self.name!r} must be different block numbers from 0, beside `steps` and `area` (got "
                f"{blocks})."
            )


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

    kind: ClassVar[Literal["preset"]] = "preset"
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
