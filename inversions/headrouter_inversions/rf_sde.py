"""Integrate RF-Inversion's stochastic equation, arXiv:2410.10792, with new noise in every sampling step.

With the controlled velocity v̂ at x, the picture it points to is x̂_0 = x − σ·v̂. In the scaled coordinates x/(1 − σ), where the
noise level is s = σ/(1 − σ), a step to σ′ draws from the Gaussian posterior given x̂_0, with r = (s′/s)²:

    x′ = (1 − σ′)·[x̂_0 + r·(x/(1 − σ) − x̂_0)] + σ′·√(1 − r)·ξ        ξ ~ N(0, I), one for each picture and step

Where x̂_0 is right, so is the variance, whatever the step, and none of the noise is left at σ′ = 0. The paper's Euler–Maruyama
step, x + Δσ·(2·v̂ + x/(1 − σ)) + √(2σ|Δσ|/(1 − σ))·ξ, overshoots the variance and ends in noise; it is kept as ``compat``.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

from pydantic import Field
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.sampling.inversion import RunInputs, State, Velocity, per_row
from headrouter_inversions.controller import Controlled


@final
class RFInversionSDE(Controlled):
    """Steps stochastically along the controlled velocity; step 0, where 1 − σ is 0, is an Euler step.

    η = 1 in every step without decay returns the picture's latents in the exact form. 2N model calls, fewer where η or γ is 1.
    """

    sampling_only: ClassVar[frozenset[str]] = Controlled.sampling_only | {"form"}

    form: Literal["exact", "compat"] = Field(
        "exact",
        description="Exact posterior step, or the published Euler–Maruyama step, which leaves noise at the end.",
    )

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return the sampling phase, and the inverting one where γ is above 0."""
        return super().seeded | {"sample"}

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step from σ_i to σ_{i+1}."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        drift = self.controlled(step, state, rows, velocity, inputs)
        if step == 0:
            return State(state.latents + (following - current) * drift)
        noise = per_row(inputs.noise("rf-sde", step), rows)
        update = _exact if self.form == "exact" else _compat
        return State(update(state.latents, drift, noise, current, following))


def _exact(latents: Tensor, drift: Tensor, noise: Tensor, current: float, following: float) -> Tensor:
    ratio = (following * (1 - current) / (current * (1 - following))) ** 2
    picture = latents - current * drift
    mean = picture + ratio * (latents / (1 - current) - picture)
    return (1 - following) * mean + float(following * (1 - ratio) ** 0.5) * noise


def _compat(latents: Tensor, drift: Tensor, noise: Tensor, current: float, following: float) -> Tensor:
    difference = following - current
    spread = float((-2 * current * difference / (1 - current)) ** 0.5)
    return latents + difference * (2 * drift + latents / (1 - current)) + spread * noise
