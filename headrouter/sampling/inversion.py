"""Define the interface of inversions, which turn a picture into noise and noise into a picture.

An inversion is a frozen set of parameters with two pure step functions. Memory from one step to the next is in the
:class:`State`, so one object serves many runs, and rows can be dropped at any step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, final

from jaxtyping import Float
from PIL import Image
from pydantic import Field
from torch import Tensor

from headrouter import renamed
from headrouter.attention.rows import Row, rows_at
from headrouter.config.configuration import Parameters
from headrouter.masks.context import Region


@final
@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Holds the rows of a run between two steps.

    Attributes:
        latents: Float32 ``[rows, channels, h, w]``.
        memory: Tensors that the inversion carries to its next step; each has the rows first.
    """

    latents: Float[Tensor, "rows channels h w"]
    memory: tuple[Tensor, ...] = ()

    def select(self, indices: Sequence[int]) -> "State":
        """Return the state of some of its rows."""
        return State(rows_at(self.latents, indices), tuple(rows_at(tensor, indices) for tensor in self.memory))

    def with_latents(self, latents: Tensor) -> "State":
        """Return a state with other latents and without memory, which no longer fits them."""
        return replace(self, latents=latents, memory=())


class Velocity(Protocol):
    """Evaluates the model: one call of it, counted."""

    def __call__(
        self,
        latents: Float[Tensor, "rows channels h w"],
        sigma: float,
        rows: Sequence[Row],
        stage: int = 0,
        *,
        alike: bool = False,
    ) -> Float[Tensor, "rows channels h w"]:
        """Return the velocity of ``rows`` at ``latents``; ``sigma`` is the noise level that the model is given.

        ``stage`` numbers the evaluations within a step from 0. ``alike`` says that rows of one picture have the same latents, whose
        velocity under the same negative prompt is then asked for once, where nothing listens to attention and all rows are guided.
        """
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class RunInputs:
    """Holds what is fixed for a run.

    Attributes:
        sigmas: Time grid as plain numbers, σ_0 ≈ 1 down to σ_N = 0.
        source: Latents of the pictures, ``[images, channels, h, w]``.
        noise: ``noise(name, step)`` draws standard Gaussian noise like ``source``, the same for the same seed, name and step,
            once per picture.
        inverted: Latents that the inversion reached, ``[images, channels, h, w]``, or None if there was none; of an inversion
            that keeps its walk ``[images, steps + 1, channels, h, w]``, from the picture to noise.
        size: Width and height of the user's picture in pixels, or None if there is no picture.
        pictures: The user's pictures, for masks; empty if they are not at hand.
        regions: For each picture, where the right edit changes it, by the text of the edit's prompt; empty if it is not known.
        kept: What masks keep over the runs of a batch.
    """

    sigmas: tuple[float, ...]
    source: Float[Tensor, "images channels h w"]
    noise: Callable[[str, int], Tensor]
    inverted: Float[Tensor, "images *kept"] | None = None
    size: tuple[int, int] | None = None
    pictures: Sequence[Image.Image] = ()
    regions: Sequence[Mapping[str, Region]] = ()
    kept: dict[Hashable, Tensor] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Return the number of steps N of the grid."""
        return len(self.sigmas) - 1


def per_row(tensor: Float[Tensor, "images channels h w"], rows: Sequence[Row]) -> Float[Tensor, "rows channels h w"]:
    """Spread what belongs to a picture over the picture's rows."""
    return rows_at(tensor, [row.image for row in rows])


@final
@dataclass(frozen=True, slots=True)
class StrengthScale:
    """Names the parameter by which an inversion edits more or less, with the values that ``strength="auto"`` tries.

    Attributes:
        parameter: Name of the field; inverting does not depend on it.
        values: From the weakest edit to the strongest.
    """

    parameter: str
    values: tuple[float, ...]


class Inversion(Parameters, ABC):
    """Turns a picture into noise and noise into an edit, by its parameters, which are its fields.

    Steps are numbered as in sampling: sampling step i goes from σ_i to σ_{i+1}. Inversion step j counts upwards from the picture,
    from σ_{N−j} to σ_{N−j−1}.
    """

    inverts: ClassVar[bool] = True
    """Whether there is an inversion at all."""

    keeps_walk: ClassVar[bool] = False
    """Whether sampling needs the latents at every noise level that the inversion came through, and not the last alone."""

    sampling_only: ClassVar[frozenset[str]] = frozenset()
    """Parameters that the inversion does not depend on: one kept inversion serves whatever they are."""

    strengths: ClassVar[StrengthScale | None] = None
    """Parameter that sets how strongly it edits; None where there is none."""

    takes_references: ClassVar[bool] = False
    """Whether the picture is given to the model as a reference, beside the picture that it makes, and prompts are instructions."""

    default_method: ClassVar[str] = "headrouter"
    """Name of the method that steers edits where the user names none; ``none`` where edits are best left alone."""

    steps: int | None = Field(
        None, ge=1, le=10_000, description="N, steps of the time grid; the model's default if not given."
    )
    guidance: float | None = Field(
        None, ge=0, lt=1000, description="Guidance of edits, unless the user says; the model's default if not given."
    )

    @property
    def inversion_parameters(self) -> dict[str, Any]:
        """Return the parameters, as plain data, that inverting depends on beside the run's steps."""
        return self.model_dump(mode="json", exclude={"steps", "guidance", *self.sampling_only})

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return the phases that draw noise, so that another seed gives another picture; both by default."""
        return frozenset({"invert", "sample"})

    @property
    def requires(self) -> frozenset[str]:
        """Return the capability words that the backbone must provide; most inversions need nothing but a velocity."""
        return frozenset()

    def source_row_prompt(self, source_prompt: str) -> str | None:
        """Return the prompt of a source's row, given the one that describes the picture; None where there is no such row."""
        return source_prompt

    @property
    @abstractmethod
    def inversion_prompt(self) -> Literal["source", "empty"]:
        """Return which prompt the inversion is conditioned on."""

    @property
    @abstractmethod
    def inversion_guidance(self) -> float:
        """Return the guidance of the inversion."""

    @abstractmethod
    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return the guidance of a row while sampling, given what the user asks for."""

    @abstractmethod
    def inversion_steps(self, steps: int) -> range:
        """Return which of the ``steps`` inversion steps are run."""

    @abstractmethod
    def sampling_steps(self, steps: int) -> range:
        """Return which of the ``steps`` sampling steps are run.

        Raises:
            InvalidInputError: the parameters cannot be met in that many steps; asked before a model runs.
        """

    @abstractmethod
    def needs_source(self, step: int, steps: int) -> bool:
        """Return whether sampling step ``step`` needs the source's row for the inversion itself."""

    @property
    def source_is_known(self) -> bool:
        """Return whether sampling knows the source's row at every noise level, whatever its velocity; False by default.

        The model then evaluates the source only where a method pairs with it, and gives zeros as its velocity elsewhere.
        """
        return False

    @property
    def keeps_source_by(self) -> Mapping[str, Any]:
        """Return the values of parameters that make the source's row the picture; none where it is the picture already.

        Where there are some, a part that puts the source's latents or velocity in the edit's place puts back something else.
        """
        return {}

    @property
    def has_source_velocity(self) -> bool:
        """Return whether velocity operators can compare with the source: by its evaluation, or by :meth:`known_velocity`."""
        return not self.source_is_known

    def known_velocity(
        self, step: int, latents: Float[Tensor, "rows channels h w"], rows: Sequence[Row], inputs: RunInputs
    ) -> Float[Tensor, "rows channels h w"]:
        """Return the velocity along which the rows of known sources move in a sampling step; other rows are not read.

        Asked only where :attr:`source_is_known` and :attr:`has_source_velocity` hold.
        """
        raise NotImplementedError

    @abstractmethod
    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Take one inversion step, towards noise."""

    @abstractmethod
    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return the state before the first sampling step."""

    @abstractmethod
    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Take one sampling step, towards the picture."""


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Problem="RunInputs")
