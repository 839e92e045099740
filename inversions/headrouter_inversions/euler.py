"""Integrate by Euler's method in both directions, arXiv:2209.03003, with DDIM inversion for rectified flows.

Sampling: x ← x + Δσ·v(x, σ). Inversion: the same from σ to the next larger σ′, with the velocity at the *current* latents but the
model given the *target* σ′, so that it is evaluated at exactly the noise levels of sampling and never at σ = 0.
"""

from collections.abc import Sequence
from typing import Literal, final

from pydantic import Field

from headrouter.attention.rows import Row
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.inversion import RunInputs, State, Velocity


@final
class Euler(TwoWay):
    """Steps along the velocity, first order, in inversion and sampling.

    One way it is of order 1 in the step. The round trip is exact for a constant field, and to tolerance with ``fixed_point``
    iterations where |Δσ| times the field's Lipschitz constant is below 1. 2N model calls, or N·(2 + ``fixed_point``).
    """

    told: Literal["target", "current"] = Field(
        "target",
        description="Noise level that the model is given while inverting: of the step's end, or of its start (naive).",
    )
    fixed_point: int = Field(
        0, ge=0, le=100, description="Iterations per inversion step that solve the implicit step, evaluations each."
    )

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return no phase: it draws no noise."""
        return frozenset()

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x′ = x + (σ′ − σ)·v(x, σ′), then repeat it ``fixed_point`` times with v(x′, σ′)."""
        current, target = inputs.sigmas[inputs.steps - step], inputs.sigmas[inputs.steps - step - 1]
        told = target if self.told == "target" else current
        latents = state.latents + (target - current) * velocity(state.latents, told, rows)
        for iteration in range(self.fixed_point):
            latents = state.latents + (target - current) * velocity(latents, target, rows, stage=1 + iteration)
        return State(latents)

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x ← x + (σ_{i+1} − σ_i)·v(x, σ_i)."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        return State(state.latents + (following - current) * velocity(state.latents, current, rows))
