"""Describe parts under test, each with the facts that its checks need."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, final

from torch import Tensor

from headrouter.experiments.dataset import Dataset
from headrouter.experiments.metric import Measured, Metric
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.plugins.status import PluginStatus
from headrouter.plugins.store import Registry
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator


@final
@dataclass(frozen=True, slots=True)
class Generation:
    """Describes a plain generation, for a reference that computes it independently.

    Attributes:
        output: Requested output: the final latents, or the picture decoded from them.
        pictures: Reference pictures ``[1, 3, height, width]`` in [−1, 1], in sizes that the model takes as they are.
    """

    prompt: str
    negative: str
    guidance: float
    seed: int
    steps: int
    width: int
    height: int
    output: Literal["latents", "picture"] = "latents"
    pictures: tuple[Tensor, ...] = ()


Reference = Callable[[Any, Generation], Tensor]
"""An independent implementation of the same model, for instance the pipeline that it was published with.

``reference(backbone, asked)`` gives the final latents [1, channels, h, w], scaled as those of ``backbone``, from the noise that
``torch.Generator().manual_seed(asked.seed)`` draws first; or, where ``asked.output`` says so, the picture [1, 3, height, width] of
them in [0, 1].
"""


@final
@dataclass(eq=False)
class BackboneSubject:
    """Describes a backbone under test.

    Attributes:
        name: For tables.
        build: Gives a fresh backbone, always with the same weights. A loaded large model may be given again and again.
        reference: An independent implementation, if there is one; without it a wrong sign or time scale of the velocity
            cannot be seen, since weights are random.
        pictures: Whether the reference gives pictures, too.
        stand_in: Puts an autoencoder that loses nothing in the place of a backbone's own until the context ends.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    build: Callable[[], Backbone]
    reference: Reference | None = None
    known_failures: Mapping[str, str] = field(default_factory=dict)
    pictures: bool = False
    stand_in: Callable[[Any], AbstractContextManager[None]] | None = None

    @cached_property
    def provides(self) -> frozenset[str]:
        """Return the backbone's words, and ``reference``, ``reference-picture`` and ``stand-in`` where there is one."""
        given = {
            "reference": self.reference is not None,
            "reference-picture": self.reference is not None and self.pictures,
            "stand-in": self.stand_in is not None,
        }
        return self.build().provides | {word for word, holds in given.items() if holds}


@final
@dataclass(eq=False)
class InversionSubject:
    """Describes an inversion under test.

    Attributes:
        name: For tables.
        inversion: Its parameters.
        provides: ``free`` if nothing but the velocity moves it, so that the round trip over a constant velocity is exact.
        order: Order of convergence of sampling in the number of steps; it is measured.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    inversion: Inversion
    provides: frozenset[str] = frozenset()
    order: float = 1.0
    known_failures: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(eq=False)
class MethodSubject:
    """Describes a method under test.

    Attributes:
        name: For tables.
        method: Its parameters.
        neutral: The method at strength zero, if it has one: the picture must then be the plain one to the bit.
        acts: Whether it changes the edit at all with these parameters.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    method: Method
    neutral: Method | None = None
    acts: bool = True
    known_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """Return ``neutral`` and ``acts`` where they apply."""
        return frozenset({word for word, holds in (("neutral", self.neutral), ("acts", self.acts)) if holds})


@final
@dataclass(eq=False)
class OperatorSubject:
    """Describes a velocity operator under test.

    Attributes:
        name: For tables.
        operator: Its parameters.
        acts: Whether it changes an edit at all with these parameters.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    operator: VelocityOperator
    acts: bool = True
    known_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """Return ``acts`` where it applies."""
        return frozenset({"acts"} if self.acts else ())


@final
@dataclass(eq=False)
class MaskSubject:
    """Describes a mask under test.

    Attributes:
        name: For tables.
        mask: Its parameters.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    mask: Mask
    known_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """Return nothing: every check applies."""
        return frozenset()


@final
@dataclass(eq=False)
class DatasetSubject:
    """Describes a data set under test.

    Attributes:
        name: For tables.
        build: Gives a fresh object, which reads the data anew.
        change: Changes the data, a picture best of all, so that the revision must change; None where that cannot be.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    build: Callable[[], Dataset]
    change: Callable[[], None] | None = None
    known_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """Return ``change`` where there is one."""
        return frozenset({"change"} if self.change is not None else ())


@final
@dataclass(eq=False)
class MetricSubject:
    """Describes a metric under test.

    Attributes:
        name: Under which it is registered, with its version.
        metric: Its parameters; its networks are small ones.
        edits: Gives at least three edits of at least two sizes, whose items have all that the metric may need.
        likeness: Whether it compares with the source, so that no edit is better than the source itself.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    metric: Metric
    edits: Callable[[], Sequence[Measured]]
    likeness: bool = True
    known_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """Return ``likeness`` where it applies."""
        return frozenset({"likeness"} if self.likeness else ())


@final
@dataclass(eq=False)
class PluginSubject:
    """Describes a plug-in under test.

    Attributes:
        name: Name of its entry point.
        registry: Registry that holds it; that of this process if None.
        known_failures: Names of checks that fail, with reasons.
    """

    name: str
    registry: Registry | None = None
    known_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """Return no word: no check requires one."""
        return frozenset()

    @property
    def known(self) -> Registry:
        """Return the registry it is in."""
        if self.registry is not None:
            return self.registry
        from headrouter.plugins import registry

        return registry()

    @property
    def status(self) -> PluginStatus | None:
        """Return its row, None if no plug-in has that name."""
        return next((row for row in self.known.statuses if row.name == self.name), None)
