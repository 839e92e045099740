"""Edit by DirectEdit: every step of sampling is aligned with the step of the inversion that it undoes.

The inversion is Euler's, with the model given the noise level of the step's end; its latents x_0 … x_N are kept, from the picture
to noise. A step of it evaluates the model at x_k and arrives at x_{k+1}. The step of sampling that undoes it adds what lies between
to every row, so that the source's row is evaluated where the inversion was:

    δ = x_k − x_{k+1}        v = v(z + δ, σ)        z ← z + Δσ·v        and the source's row is put on x_k

A row with the source's prompt and the inversion's guidance then moves back as the source came, whatever the length of the steps.
Read from the authors' release, Tr1stesse/DirectEdit; published with N = 30, guidance 1 while inverting and for the source, and
2 to 3.5 for edits.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.inversion import RunInputs, State, Velocity, per_row


@final
class DirectEdit(TwoWay):
    """Steps along velocities at latents that are shifted by what the inversion moved: N + N model calls.

    The source is known without the model, which evaluates it where a method compares with it. Without an inversion, as for new
    pictures, it samples by Euler's method.
    """

    keeps_walk: ClassVar[bool] = True

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return no phase: it draws no noise."""
        return frozenset()

    @property
    def source_is_known(self) -> bool:
        """Return True: its walk is kept."""
        return True

    @property
    def has_source_velocity(self) -> bool:
        """Return True: the walk's own."""
        return True

    def known_velocity(self, step: int, latents: Tensor, rows: Sequence[Row], inputs: RunInputs) -> Tensor:
        """Return (x_k − x_{k+1})/Δσ, which the inversion evaluated."""
        return self._shift(step, rows, inputs) / (inputs.sigmas[step + 1] - inputs.sigmas[step])

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return 1 for sources, as while inverting."""
        return 1.0 if row_is_source else guidance

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x_{k+1} = x_k + (σ′ − σ)·v(x_k, σ′)."""
        current, target = inputs.sigmas[inputs.steps - step], inputs.sigmas[inputs.steps - step - 1]
        return State(state.latents + (target - current) * velocity(state.latents, target, rows))

    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return the end of the walk, or fresh noise if there was no inversion."""
        walk = _walk(inputs)
        if walk is not None:
            return State(per_row(walk[:, -1], rows))
        return super().initial_state(rows, inputs)

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step z ← z + Δσ·v(z + δ, σ_i); sources go to their place on the walk."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        walk = _walk(inputs)
        if walk is None:
            return State(state.latents + (following - current) * velocity(state.latents, current, rows))
        moved = state.latents + (following - current) * velocity(
            state.latents + self._shift(step, rows, inputs), current, rows
        )
        known = per_row(walk[:, inputs.steps - step - 1], rows)
        return State(torch.stack([(known if row.is_source else moved)[place] for place, row in enumerate(rows)]))

    def _shift(self, step: int, rows: Sequence[Row], inputs: RunInputs) -> Tensor:
        """Return δ of each row's picture."""
        walk = _walk(inputs)
        assert walk is not None, "a source has a walk"
        at = inputs.steps - step
        return per_row(walk[:, at - 1] - walk[:, at], rows)


def _walk(inputs: RunInputs) -> Tensor | None:
    """Return ``[images, steps + 1, channels, h, w]``; None where there is none, or the latents at noise alone."""
    kept = inputs.inverted
    return None if kept is None or kept.ndim == inputs.source.ndim else kept
