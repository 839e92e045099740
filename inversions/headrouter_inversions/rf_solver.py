"""Integrate by RF-Solver, a second-order Taylor step in both directions, arXiv:2411.04746.

The velocity's derivative is taken from a second evaluation at the middle of the step, v_m = v(x + ½Δσ·v, σ + ½Δσ):

    x′ = x + Δσ·v + ½Δσ²·(v_m − v)/(½Δσ)  =  x + Δσ·v_m

which is the explicit midpoint rule, and is computed as such.

The model is given the σ of x, with one exception: the first evaluation of an inversion stands at σ = 0, which no model was
trained at. It is given the middle of its step instead. That moves the predictor by O(Δσ²) and the step by O(Δσ³), once, so the
order stays 2.
"""

from collections.abc import Sequence
from typing import Literal, final

from headrouter.attention.rows import Row
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.inversion import RunInputs, State, Velocity


@final
class RFSolver(TwoWay):
    """Integrates by the explicit midpoint rule: order 2 one way and 3 in the round trip.

    It takes 4N model calls, and is published with N from 15 to 30.
    """

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return no phase: it draws no noise."""
        return frozenset()

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Apply the midpoint rule from σ to the next larger σ′."""
        current, target = inputs.sigmas[inputs.steps - step], inputs.sigmas[inputs.steps - step - 1]
        return _midpoint(current, target, state, rows, velocity)

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Apply the midpoint rule from σ_i to σ_{i+1}."""
        return _midpoint(inputs.sigmas[step], inputs.sigmas[step + 1], state, rows, velocity)


def _midpoint(current: float, target: float, state: State, rows: Sequence[Row], velocity: Velocity) -> State:
    middle, difference = (current + target) / 2, target - current
    here = velocity(state.latents, current or middle, rows)
    return State(state.latents + difference * velocity(state.latents + difference / 2 * here, middle, rows, stage=1))
