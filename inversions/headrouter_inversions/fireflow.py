"""Integrate by FireFlow, second order at the price of first, arXiv:2412.07517.

The midpoint rule, with the midpoint velocity of the step before in place of an evaluation where x is:

    x_m = x + ½Δσ·v_{m−1}        v_m = v(x_m, σ + ½Δσ)        x′ = x + Δσ·v_m

Only the first step of a direction, which has no step before it, evaluates v(x, σ); in the inversion, where σ is 0 there, the model
is given the middle of the step, as in RF-Solver. The velocity before is the state's memory, so it starts anew with each
direction, and after a method has changed the latents.
"""

from collections.abc import Sequence
from typing import Literal, final

from pydantic import Field

from headrouter.attention.rows import Row
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.inversion import RunInputs, State, Velocity


@final
class FireFlow(TwoWay):
    """Integrates by the midpoint rule with a remembered velocity: order 2 one way, about 3 in the round trip.

    N + 1 model calls a direction.
    """

    steps: int | None = Field(8, ge=1, le=10_000, description="N, steps of the time grid; published: 8, or 15.")

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return no phase: it draws no noise."""
        return frozenset()

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step from σ to the next larger σ′."""
        current, target = inputs.sigmas[inputs.steps - step], inputs.sigmas[inputs.steps - step - 1]
        return _step(current, target, state, rows, velocity)

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step from σ_i to σ_{i+1}."""
        return _step(inputs.sigmas[step], inputs.sigmas[step + 1], state, rows, velocity)


def _step(current: float, target: float, state: State, rows: Sequence[Row], velocity: Velocity) -> State:
    middle, difference = (current + target) / 2, target - current
    before = state.memory or (velocity(state.latents, current or middle, rows),)
    stage = 0 if state.memory else 1
    now = velocity(state.latents + difference / 2 * before[0], middle, rows, stage=stage)
    return State(state.latents + difference * now, (now,))
