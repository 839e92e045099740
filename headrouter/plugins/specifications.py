"""Define the names that a plug-in author imports: the marker of hooks, and descriptions of parts.

A plug-in is a module named in the entry-point group ``headrouter``. It states ``headrouter_api = 1`` and implements
hooks of :mod:`headrouter.plugins.hookspecs`. A description names its class as text, ``"module:Class"``, and the class is
imported when it is first used; so this module and every plug-in module stay light, and ``headrouter --help`` imports no
torch.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import pluggy

from headrouter.errors import InvalidInputError, PluginError
from headrouter.plugins.description import (
    block_numbers_of,
    require_name,
    require_number,
    require_target,
    require_text,
    require_truth,
    require_values,
    require_whole,
    words_of,
)
from headrouter.plugins.targets import folder_of, import_target

hookimpl = pluggy.HookimplMarker("headrouter")
"""Marks a function of a plug-in as the implementation of the hook of the same name."""

SUPPORTED_API: Final[frozenset[int]] = frozenset({1})
"""The values of a plug-in's ``headrouter_api`` that this headrouter understands."""

Kind = Literal["backbone", "inversion", "operator", "method", "mask", "dataset", "metric", "editor", "executor"]
KINDS: Final[tuple[Kind, ...]] = ("backbone", "inversion", "operator", "method", "mask")
"""The kinds of which an edit is composed; the others are parts of experiments."""

_BASES: Final[Mapping[Kind, str]] = {
    "backbone": "headrouter.models.backbone:BackboneParameters",
    "inversion": "headrouter.sampling.inversion:Inversion",
    "operator": "headrouter.sampling.velocity_operator:VelocityOperator",
    "method": "headrouter.methods.method:Method",
    "mask": "headrouter.masks.mask:Mask",
    "dataset": "headrouter.experiments.dataset:Dataset",
    "metric": "headrouter.experiments.metric:Metric",
    "editor": "headrouter.experiments.other_editor:OtherEditor",
    "executor": "headrouter.experiments.executor:Executor",
}
"""The class that a component's class derives from; named as text, since importing it imports torch."""


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """Describes a component to the registry before any of its code is imported.

    Args:
        name: lower-case letters, digits, ``.``, ``_``, ``-``; compared with ``_`` equal to ``-``.
        target: ``"module:Class"``, imported on first use. The class holds the component's parameters, a pydantic model: it
            derives from :class:`~headrouter.models.backbone.BackboneParameters`,
            :class:`~headrouter.sampling.inversion.Inversion`,
            :class:`~headrouter.sampling.velocity_operator.VelocityOperator`, :class:`~headrouter.methods.method.Method`,
            :class:`~headrouter.masks.mask.Mask`,
            :class:`~headrouter.experiments.dataset.Dataset`, :class:`~headrouter.experiments.metric.Metric`,
            :class:`~headrouter.experiments.other_editor.OtherEditor` or
            :class:`~headrouter.experiments.executor.Executor`.
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
        require_name("name", self.name)
        require_target("target", self.target)
        for field_name in ("aliases", "provides", "requires"):
            make = tuple if field_name == "aliases" else frozenset
            object.__setattr__(self, field_name, make(words_of(field_name, getattr(self, field_name))))
        for alias in self.aliases:
            require_name("aliases", alias)
        require_text(self, "summary", "install_hint")

    def load(self) -> Any:
        """Import the class that ``target`` names; :class:`PluginError` when that fails, or it is no class of this kind."""
        found = import_target(self.target, f"{self.kind} {self.name!r}", self.install_hint)
        base = import_target(_BASES[self.kind], self.kind)
        if not isinstance(found, type) or not issubclass(found, base):
            came = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
            raise PluginError(
                f"{self.kind} {self.name!r}: its target '{self.target}' must be a class derived from "
                f"{base.__module__}.{base.__name__} (got {came})."
            )
        return found


@dataclass(frozen=True, slots=True)
class BackboneSpec(ComponentSpec):
    """Describes a family of joint-attention models.

    Args:
        default_model: the :class:`Model`, by name, that is used when the user names none.
        testing: ``"module:function"`` without arguments that gives small models, a list of
            :class:`~headrouter.testing.BackboneSubject`, for ``headrouter conformance``.
    """

    default_model: str = ""
    testing: str = ""

    kind: ClassVar[Kind] = "backbone"

    def __post_init__(self) -> None:
        ComponentSpec.__post_init__(self)
        require_text(self, "default_model")
        if self.testing != "":
            require_target("testing", self.testing)


@dataclass(frozen=True, slots=True)
class InversionSpec(ComponentSpec):
    """Describes an inversion: how a picture is turned into noise, and noise into an edit."""

    kind: ClassVar[Kind] = "inversion"


@dataclass(frozen=True, slots=True)
class OperatorSpec(ComponentSpec):
    """Describes a velocity operator, which changes the velocity that an inversion steps with."""

    kind: ClassVar[Kind] = "operator"


@dataclass(frozen=True, slots=True)
class MethodSpec(ComponentSpec):
    """Describes a method that steers attention."""

    kind: ClassVar[Kind] = "method"


@dataclass(frozen=True, slots=True)
class MaskSpec(ComponentSpec):
    """Describes a mask, which says where an edit may act."""

    kind: ClassVar[Kind] = "mask"


@dataclass(frozen=True, slots=True)
class DatasetSpec(ComponentSpec):
    """Describes a data set: pictures, and the edits to make of them."""

    kind: ClassVar[Kind] = "dataset"


@dataclass(frozen=True, slots=True)
class MetricSpec(ComponentSpec):
    """Describes a metric, with a version at the end of its name: ``psnr-1``; another definition is another version."""

    kind: ClassVar[Kind] = "metric"


@dataclass(frozen=True, slots=True)
class EditorSpec(ComponentSpec):
    """Describes an editor that is no composition of headrouter's parts, to compare with."""

    kind: ClassVar[Kind] = "editor"


@dataclass(frozen=True, slots=True)
class ExecutorSpec(ComponentSpec):
    """Describes an executor: where the workers of an experiment are."""

    kind: ClassVar[Kind] = "executor"


@dataclass(frozen=True, slots=True)
class Model:
    """Describes weights of a backbone, with the steps, guidance and size that suit them.

    Args:
        name: as for components; unique within the backbone.
        backbone: name of the backbone that runs it, the plug-in's own or another's.
        source: a hub id, or ``"package:function"`` for a function without arguments that returns the folder of bundled weights.
        steps, guidance, area: sampling steps, guidance, and pixels of a training picture; 0 steps: as the backbone tells from
            the weights' configuration.
        licence: of the weights, in words.
        word_blocks: numbers of the joint blocks whose attention shows best where a word acts, best first; empty if nobody
            ranked them. They need ``steps`` and ``area`` beside them.
        gated: whether the licence must be accepted on the hub before downloading.
        summary: one line for tables.
        facts: ``"package:name.json"``, a file with what is published of the weights, see :mod:`headrouter.models.facts`;
            empty if there is none.
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
    facts: str = ""

    kind: ClassVar[Literal["model"]] = "model"
    aliases: ClassVar[tuple[str, ...]] = ()

    @property
    def component(self) -> tuple[Kind, str]:
        """Return the kind and name of the backbone that runs it."""
        return "backbone", self.backbone

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_text(self, "backbone", "source", "licence", "summary", "facts")
        if self.facts:
            require_target("facts", self.facts)
        require_truth(self, "gated")
        require_whole(self, "steps", "area", least=0)
        require_number(self, "guidance")
        object.__setattr__(self, "word_blocks", block_numbers_of(self, "word_blocks"))
        if not self.source:
            raise InvalidInputError(f"`source` of model {self.name!r} is empty; give a hub id or 'package:function'.")
        if ":" in self.source:
            require_target("source", self.source)
        if (self.steps > 0) != (self.area > 0):
            raise InvalidInputError(
                f"`steps` and `area` of model {self.name!r} must both be positive, or both 0 (got {self.steps}, {self.area})."
            )
        if self.word_blocks and not self.steps:
            raise InvalidInputError(f"`word_blocks` of model {self.name!r} need `steps` and `area` beside them.")

    def locate(self) -> str:
        """Return the hub id, or the folder that the function named by ``source`` gives.

        Raises:
            PluginError: the function gives no folder.
        """
        return folder_of(self.source) if ":" in self.source else self.source


@dataclass(frozen=True, slots=True)
class Preset:
    """Names parameter values that were measured or published, and their source.

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
    values: Mapping[str, int | float | str | Sequence[int]] = field(hash=False)
    provenance: str
    summary: str = ""

    kind: ClassVar[Literal["preset"]] = "preset"
    aliases: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        require_name("name", self.name)
        object.__setattr__(self, "component", words_of("component", self.component))
        if len(self.component) != 2 or self.component[0] not in KINDS:
            raise InvalidInputError(
                f"`component` must begin with one of {', '.join(KINDS)}, and name one (got {self.component!r})."
            )
        require_whole(self, "reference_steps", least=1)
        require_text(self, "provenance", "summary")
        if not self.provenance:
            raise InvalidInputError(f"`provenance` of preset {self.name!r} is empty; say where its values come from.")
        require_values(self, "values")
        object.__setattr__(self, "values", dict(self.values))
