"""Evaluates the model for an inversion: the rows that a step asks for, counted, and noted as finite or not."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal, final

import torch
from torch import Tensor

from headrouter.attention.rows import Row, rows_at
from headrouter.attention.step_info import StepInfo
from headrouter.errors import NonFiniteError
from headrouter.methods.method import MethodRun
from headrouter.models.backbone import Backbone
from headrouter.models.memory import enough_memory
from headrouter.sampling.cost import Meter
from headrouter.sampling.dispatch import Dispatcher
from headrouter.sampling.finiteness import FiniteCheck
from headrouter.sampling.velocity_operator import ActiveOperators

Sources = bool | Literal["conditional"]
"""What of the sources' rows a step asks of the model: all, the conditional branch, or nothing."""


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """Gives velocities within one step, as a :class:`~headrouter.sampling.inversion.Velocity`.

    Attributes:
        backbone: The model.
        meter: Counts the calls.
        finite: Notes whether velocities are finite.
        step_info: The step; stage, noise level and number of the call are those of each call.
        dispatcher: Forwards attention to ``active``; None where nothing is attached.
        active: Methods that take part in the step.
        sources: What the step asks of the sources' rows; zeros stand for velocities that it does not ask for.
        unguided: Each source's row, as it is where only its conditional branch is asked for.
        operators: Velocity operators of the step, after guidance; None changes nothing.
    """

    backbone: Backbone
    meter: Meter
    finite: FiniteCheck
    step_info: StepInfo
    dispatcher: Dispatcher | None = None
    active: Sequence[MethodRun] = ()
    sources: Sources = True
    unguided: Mapping[Row, Row] = field(default_factory=dict)
    operators: ActiveOperators | None = None

    def __call__(
        self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int = 0, *, alike: bool = False
    ) -> Tensor:
        """Return the velocity of ``rows`` at ``latents``, from one model call, changed by the operators of the step."""
        velocity = self._asked(latents, sigma, rows, stage, alike)
        if self.operators is None:
            return velocity
        return self.operators.change(velocity, latents, rows, replace(self.step_info, stage=stage, sigma=sigma))

    def _asked(self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int, alike: bool) -> Tensor:
        """Return the model's velocity; zeros stand for what the step does not ask for."""
        if self.sources is True:
            return self._once(latents, sigma, rows, stage, alike)
        asked = [place for place, row in enumerate(rows) if self.sources or not row.is_source]
        chosen = [self.unguided.get(rows[place], rows[place]) for place in asked]
        velocity = torch.zeros_like(latents)
        if asked:
            for place, found in zip(
                asked, self._once(rows_at(latents, asked), sigma, chosen, stage, alike), strict=True
            ):
                velocity[place] = found
        return velocity

    def _once(self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int, alike: bool) -> Tensor:
        """Return the velocity of rows; unconditional ones that rows share are rows of their own, asked for once."""
        shared = self._shared(rows) if alike and self.dispatcher is None else {}
        if not shared:
            return self._evaluated(latents, sigma, rows, stage)
        places = [*shared.values(), *range(len(rows))]
        asked = [replace(rows[place], prompt=rows[place].negative, guidance=1.0) for place in shared.values()]
        asked += [replace(row, guidance=1.0) for row in rows]
        velocity = self._evaluated(rows_at(latents, places), sigma, asked, stage)
        found, conditional = torch.split(velocity, [len(shared), len(rows)])
        unconditional = dict(zip(shared, found, strict=True))
        return torch.stack(
            [
                self.backbone.combine(unconditional[_unconditional(row)], own, row.guidance, sigma)
                for row, own in zip(rows, conditional, strict=True)
            ]
        )

    def _shared(self, rows: Sequence[Row]) -> dict[object, int]:
        """Return where the unconditional velocities are asked for that rows of the same latents share; empty where none do."""
        if "negative-prompt" not in self.backbone.provides or any(row.guidance in (0, 1) for row in rows):
            return {}
        first: dict[object, int] = {}
        for place, row in enumerate(rows):
            first.setdefault(_unconditional(row), place)
        return first if len(first) < len(rows) else {}

    def _evaluated(self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int) -> Tensor:
        step_info = replace(self.step_info, stage=stage, sigma=sigma, forward=self.meter.calls)
        self.meter.count(self.backbone, rows)
        if self.dispatcher is not None:
            self.dispatcher.enter(step_info, self.active)
        with enough_memory(lambda: self.backbone.device, f"at step {step_info.step} with {len(rows)} rows"):
            velocity = self.backbone.velocity(latents, sigma, rows)
        for run in self.active:
            run.end_forward()
        self.finite.note(velocity, lambda: self._broken(step_info, latents, sigma, rows))
        return velocity

    def _broken(self, step_info: StepInfo, latents: Tensor, sigma: float, rows: Sequence[Row]) -> NonFiniteError:
        """Evaluate once more, looking at each attention, to name the layer where numbers first break."""
        dispatcher = self.dispatcher or Dispatcher()
        dispatcher.enter(step_info, self.active)
        dispatcher.watch()
        with nullcontext() if self.dispatcher else self.backbone.attach(dispatcher):
            self.backbone.velocity(latents, sigma, rows)
        return NonFiniteError(
            f"The model gave NaN or infinity in step {step_info.step} of {step_info.steps} ({step_info.phase}), "
            f"{dispatcher.broken()}. Try `dtype='bfloat16'` or `'float32'` instead of float16, or weaker steering."
        )


def _unconditional(row: Row) -> object:
    """Return what, beside latents, the velocity of a row under its negative prompt depends on."""
    return row.image, id(row.negative), tuple(map(id, row.references))
