"""Edit by SDEdit: noise the picture partly and denoise it with the new prompt, arXiv:2108.01073.

Of N steps the last k = N − ⌊N − N·strength⌋ are run, from x = (1 − σ)·x_0 + σ·ε at the grid's own σ = σ_{N−k}.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field

from headrouter.attention.rows import Row
from headrouter.sampling.directions import OneWay
from headrouter.sampling.inversion import RunInputs, State, StrengthScale, Velocity, per_row


@final
class SDEdit(OneWay):
    """Steps by Euler's method from the noised picture, in k model calls.

    k is N·strength rounded up, so any strength that is accepted leaves a step to run. Were k to be 0, σ_N = 0 gives x_0 exactly.
    At strength 1 nothing of the picture is left: plain generation from the seed.
    """

    strengths: ClassVar[StrengthScale | None] = StrengthScale("strength", (0.5, 0.6, 0.7, 0.8))

    strength: float = Field(
        0.7, gt=0, le=1, description="Share of the steps that are run; published: 0.6 to 0.8. Larger changes more."
    )

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return the same guidance for all rows."""
        return guidance

    def sampling_steps(self, steps: int) -> range:
        """Return the last k steps."""
        return range(math.floor(steps - steps * self.strength), steps)

    def needs_source(self, step: int, steps: int) -> bool:
        """Return False: no step needs it."""
        return False

    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return x = (1 − σ)·x_0 + σ·ε, ε shared by the rows of a picture."""
        sigma = inputs.sigmas[self.sampling_steps(inputs.steps).start]
        return State(per_row((1 - sigma) * inputs.source + sigma * inputs.noise("start", 0), rows))

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x ← x + (σ_{i+1} − σ_i)·v(x, σ_i)."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        return State(state.latents + (following - current) * velocity(state.latents, current, rows))
