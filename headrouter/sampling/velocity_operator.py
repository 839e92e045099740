"""Define the interface of velocity operators, which change the velocity that an inversion steps with.

An operator sits between the model and the inversion, after guidance, in every evaluation of a step. It is a frozen set of
parameters; for each run it makes an :class:`OperatorRun`, which holds all state. Several act in the order in which they are
listed, each on the velocities that the one before returned.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.attention.step_info import Phase, StepInfo
from headrouter.config.configuration import Parameters
from headrouter.config.step_or_fraction import StepOrFraction, window
from headrouter.errors import IncompatibleError
from headrouter.methods.method import RunContext
from headrouter.plugins.specifications import Kind
from headrouter.sampling.inversion import Inversion, RunInputs, per_row


@final
@dataclass(frozen=True, slots=True, eq=False)
class VelocityEvent:
    """Holds the velocities of one evaluation of the model, after guidance.

    Attributes:
        velocity: dx/dσ of each row, float32.
        latents: Latents at which it was evaluated.
        rows: The rows, sources and edits.
        step_info: Step, stage, and the noise level that the model was given.
        interval: Signed length of the step, σ at its end minus σ at its start.
        picture: Latents x_0 of each row's picture.
    """

    velocity: Float[Tensor, "rows channels h w"]
    latents: Float[Tensor, "rows channels h w"]
    rows: Sequence[Row]
    step_info: StepInfo
    interval: float
    picture: Float[Tensor, "rows channels h w"]

    def source_of(self, place: int) -> Float[Tensor, "channels h w"]:
        """Return the velocity of the source's row of the picture of the row at ``place``."""
        image = self.rows[place].image
        return self.velocity[next(at for at, row in enumerate(self.rows) if row.is_source and row.image == image)]

    def changed(self, change: Callable[[int], Float[Tensor, "channels h w"]]) -> Float[Tensor, "rows channels h w"]:
        """Return velocities with ``change(place)`` for each row that operators may change, and the others as they are.

        Those are the edits while sampling, and all rows while inverting.
        """
        stays = [row.is_source and self.step_info.phase != "invert" for row in self.rows]
        return torch.stack([self.velocity[at] if still else change(at) for at, still in enumerate(stays)])


class OperatorRun(ABC):
    """Changes the velocities of one run, and holds its state."""

    @abstractmethod
    def change(self, event: VelocityEvent) -> Float[Tensor, "rows channels h w"]:
        """Return the velocities that the inversion steps with; writes into nothing that it is given."""


class VelocityOperator(Parameters, ABC):
    """Changes velocities by its parameters, which are its fields."""

    acts_in: ClassVar[Phase] = "sample"
    """Phase in which it acts: ``sample``, or ``invert`` while the picture is taken to noise."""

    needs_source: ClassVar[bool] = True
    """Whether it compares with the source's velocity, so that the source's row runs as long as it acts."""

    restores_source: ClassVar[bool] = False
    """Whether it puts the source's velocity in the edit's place, so that the source's row should be the picture."""

    neutral: ClassVar[Mapping[str, Any]]
    """Values of parameters at which it changes nothing, to the bit."""

    start: StepOrFraction = Field(0, description="First step in which it acts, or fraction of the steps.")
    stop: StepOrFraction = Field(1.0, description="First step after those in which it acts, or fraction.")

    @property
    def requires(self) -> frozenset[str]:
        """Return the capability words that the backbone must provide; most operators need nothing but a velocity."""
        return frozenset()

    def steps(self, total: int) -> range:
        """Return the steps of ``total`` in which it acts; one at least where ``stop`` is a fraction after ``start``."""
        found = window(self.start, self.stop, total)
        rounded_away = not found and isinstance(self.stop, float) and self.stop * total > found.start
        return range(found.start, found.start + 1) if rounded_away else found

    @abstractmethod
    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in a run; refuse what cannot work. Asked once more before the inversion, so that it refuses in time."""


@final
class NoOperator(VelocityOperator):
    """Changes no velocity; it stands for no operator in lists of choices."""

    needs_source: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any]] = {}

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part without effect."""
        return _Unchanged()


@final
class _Unchanged(OperatorRun):
    def change(self, event: VelocityEvent) -> Tensor:
        return event.velocity


@final
@dataclass(frozen=True, eq=False)
class ActiveOperators:
    """Applies the operators of one step, in their order, to each of its evaluations.

    Attributes:
        runs: Runs of the operators that act in the step.
        inversion: Gives the velocity of a source that it knows without the model.
        inputs: Inputs of the run.
        source_is_used: Whether one of them compares with the source.
    """

    runs: Sequence[OperatorRun]
    inversion: Inversion
    inputs: RunInputs
    source_is_used: bool

    def change(self, velocity: Tensor, latents: Tensor, rows: Sequence[Row], step_info: StepInfo) -> Tensor:
        """Return the velocities that the inversion steps with."""
        inversion, inputs = self.inversion, self.inputs
        if self.source_is_used and inversion.source_is_known:
            known = inversion.known_velocity(step_info.step, latents, rows, inputs)
            velocity = torch.stack([(known if row.is_source else velocity)[at] for at, row in enumerate(rows)])
        step, sigmas = step_info.step, inputs.sigmas if step_info.phase != "invert" else inputs.sigmas[::-1]
        interval = sigmas[step + 1] - sigmas[step]
        event = VelocityEvent(velocity, latents, rows, step_info, interval, per_row(inputs.source, rows))
        for run in self.runs:
            event = replace(event, velocity=run.change(event))
        return event.velocity


def begin_operators(
    operators: Sequence[VelocityOperator], inversion: Inversion, context: RunContext
) -> list[tuple[VelocityOperator, OperatorRun]]:
    """Begin the run of each operator that acts in the phase of a run; they refuse what cannot work.

    Raises:
        IncompatibleError: an operator that the inversion cannot serve, or without a source to compare with.
    """
    refuse_misfit_operators(operators, inversion, context.steps)
    acting = [operator for operator in operators if (operator.acts_in == "invert") == (context.phase == "invert")]
    for operator in acting:
        name = type(operator).__name__
        if operator.needs_source and not any(row.is_source for row in context.rows):
            raise IncompatibleError(
                f"{name} compares an edit's velocity with its source's, and this run has no source. Edit a picture."
            )
    return [(operator, operator.begin(context)) for operator in acting]


def _class_name(kind: Kind, part: object) -> str:
    return type(part).__name__


def refuse_misfit_operators(
    operators: Sequence[VelocityOperator],
    inversion: Inversion,
    steps: int | None = None,
    name_of: Callable[[Kind, object], str] = _class_name,
) -> None:
    """Refuse operators that an inversion cannot serve.

    Args:
        operators, inversion: The parts.
        steps: Steps of the time grid; None where they are not known yet.
        name_of: Gives the name of a part in messages.

    Raises:
        IncompatibleError: an operator compares with the source's velocity, and the inversion has none; or it acts while
            inverting, and there is no inversion; or in steps that are all left out.
    """
    for operator in operators:
        name, other = repr(name_of("operator", operator)), repr(name_of("inversion", inversion))
        if operator.needs_source and not inversion.has_source_velocity:
            raise IncompatibleError(
                f"`operator` {name} changes an edit's velocity by how it differs from its source's, and `inversion` {other} with "
                "these parameters has no source velocity. Choose another inversion, such as 'flowedit' or 'rf'."
            )
        if operator.needs_source and inversion.source_row_prompt("") is None:
            raise IncompatibleError(
                f"`operator` {name} compares an edit's velocity with its source's, and `inversion` {other} with these parameters "
                "has no source's row. Give `inversion.null_instruction`, which asks for no change; '' will do."
            )
        if operator.acts_in == "invert" and not inversion.inverts:
            others = (
                "" if inversion.takes_references else ", or choose an inversion that inverts, such as 'euler' or 'rf'"
            )
            raise IncompatibleError(
                f"`operator` {name} acts while the picture is taken to noise, and `inversion` {other} inverts nothing. Leave the "
                f"operator out{others}."
            )
        if steps is not None:
            inverting = operator.acts_in == "invert"
            run = inversion.inversion_steps(steps) if inverting else inversion.sampling_steps(steps)
            mine = operator.steps(steps)
            if mine and not set(mine) & set(run):
                raise IncompatibleError(
                    f"`operator` {name} acts in none of the steps that are run: `inversion` {other} runs steps {run.start} to "
                    f"{run.stop - 1} of 0 to {steps - 1}, and it acts in {mine.start} to {mine.stop - 1}. Let it act later "
                    "(`start`, `stop`), or run more steps."
                )
