"""Integrate RF-Inversion's ordinary differential equation, arXiv:2410.10792."""

from collections.abc import Sequence
from typing import final

from headrouter.attention.rows import Row
from headrouter.sampling.inversion import RunInputs, State, Velocity
from headrouter_inversions.controller import Controlled


@final
class RFInversion(Controlled):
    """Steps along the controlled velocity by Euler's method.

    η = 1 in every step without decay returns the picture's latents; γ = 1 reaches y_1. 2N model calls, fewer where η or γ is 1.
    """

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x ← x + (σ_{i+1} − σ_i)·v̂."""
        difference = inputs.sigmas[step + 1] - inputs.sigmas[step]
        return State(state.latents + difference * self.controlled(step, state, rows, velocity, inputs))
