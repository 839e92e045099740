"""Run velocity operators briefly on the toy model, for checks."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.engine import Engine
from headrouter.sampling.inversion import RunInputs, State, Velocity
from headrouter.sampling.noise import Noise
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator
from headrouter.testing.check import expect
from headrouter.testing.method_runs import STEPS, method_rows
from headrouter.testing.toy import ToyMMDiT


@final
class Integrated(TwoWay):
    """Integrates in both directions by Euler's method, or by the midpoint rule, which evaluates twice a step."""

    midpoint: bool = False

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step upwards."""
        current, target = inputs.sigmas[inputs.steps - step], inputs.sigmas[inputs.steps - step - 1]
        return self._step(current, target, state, rows, velocity)

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step downwards."""
        return self._step(inputs.sigmas[step], inputs.sigmas[step + 1], state, rows, velocity)

    def _step(self, current: float, target: float, state: State, rows: Sequence[Row], velocity: Velocity) -> State:
        latents, interval = state.latents, target - current
        here = velocity(latents, max(current, target), rows)
        if self.midpoint:
            here = velocity(latents + interval / 2 * here, (current + target) / 2, rows, stage=1)
        return State(latents + interval * here)


def changed(
    toy: ToyMMDiT, operators: Sequence[VelocityOperator], rows: Sequence[Row], seeds: Sequence[int], **asked: Any
) -> Tensor:
    """Take pictures to noise and back along velocities that operators change; return the latents of the rows kept.

    Args:
        rows: Sources and edits; without sources there is no inversion either.
        seeds: One for each picture, which is drawn from it.
        asked: ``midpoint``, and keywords of :meth:`~headrouter.sampling.engine.Engine.sample`.
    """
    inversion, engine = Integrated(midpoint=asked.pop("midpoint", False)), Engine(toy)
    shape = toy.latent_shape(24, 16)
    inputs = RunInputs(
        tuple(toy.sigmas(STEPS, 24, 16).tolist()),
        Noise(seeds, shape, toy.device)("picture", 0),
        Noise(seeds, shape, toy.device),
    )
    sources = [row for row in rows if row.is_source]
    if sources:
        inverted, _ = engine.invert(inversion, sources, inputs, operators)
        inputs = RunInputs(inputs.sigmas, inputs.source, inputs.noise, inverted)
    return engine.sample(inversion, (), rows, inputs, operators=operators, **asked).latents


def edit(
    *operators: VelocityOperator, prompts: Sequence[str] = ("a cat", "a dog"), guidance: float = 3.0, **asked: Any
) -> Tensor:
    """Edit one picture along velocities that operators change."""
    toy = ToyMMDiT()
    return changed(toy, operators, method_rows(toy, *prompts, guidance=guidance), [1], **asked)


def watched(operator: VelocityOperator) -> VelocityOperator:
    """Return an operator that checks in each evaluation what ``operator`` does with what it is given."""

    class Watched(type(operator)):  # type: ignore[misc]
        def begin(self, context: RunContext) -> OperatorRun:
            return _WatchedRun(operator.begin(context))

    found: VelocityOperator = Watched(**dict(operator))
    return found


class _WatchedRun(OperatorRun):
    def __init__(self, run: OperatorRun):
        self._run = run

    def change(self, event: VelocityEvent) -> Tensor:
        given = {name: getattr(event, name) for name in ("velocity", "latents", "picture")}
        kept = {name: tensor.clone() for name, tensor in given.items()}
        answer = self._run.change(event)
        for name, tensor in given.items():
            expect(torch.equal(tensor, kept[name]), f"`change` writes into the event's {name}; make a new tensor")
        expect(
            answer.shape == event.velocity.shape, f"it gives {tuple(answer.shape)} for {tuple(event.velocity.shape)}"
        )
        expect(answer.dtype == event.velocity.dtype, f"it gives {answer.dtype} for {event.velocity.dtype}")
        if event.step_info.phase != "invert":
            for place, row in enumerate(event.rows):
                same = not row.is_source or torch.equal(answer[place], event.velocity[place])
                expect(same, "it changes the velocity of a source's row while sampling")
        return answer
