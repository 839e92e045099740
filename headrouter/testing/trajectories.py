"""Run a trajectory on a velocity field that is known in closed form, and count its evaluations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from headrouter.inversion import Inversion, Problem, State
from headrouter.prompt import Prompt
from headrouter.rows import Row

Field = Callable[[Tensor, float], Tensor]
"""dx/dσ at latents ``[rows, channels, h, w]`` and noise level σ."""


@final
class Solved:
    """Integrates a trajectory over a field.

    Attributes:
        calls: Evaluations of the field so far.
        told: Noise levels that the field was told, in order.
    """

    def __init__(self, field: Field, sigmas: Sequence[float], source: Tensor, noise: Tensor | None = None):
        """``source`` is ``[images, channels, h, w]``; ``noise`` is used wherever noise is asked for."""
        given = torch.zeros_like(source) if noise is None else noise
        self.problem = Problem(tuple(sigmas), source, lambda name, step: given)
        self.rows = [Row(Prompt("", {}), Prompt("", {}), 1.0, image=image) for image in range(len(source))]
        self.told: list[float] = []
        self._field = field

    @property
    def calls(self) -> int:
        """Evaluations of the field so far."""
        return len(self.told)

    def invert(self, inversion: Inversion) -> Tensor:
        """From the source to noise."""
        state = State(self.problem.source)
        for step in inversion.inversion_steps(self.problem.steps):
            state = inversion.invert_step(step, state, self.rows, self._velocity, self.problem)
        return state.latents

    def sample(self, inversion: Inversion, start: Tensor) -> Tensor:
        """From ``start`` to a picture."""
        problem = replace(self.problem, inverted=start)
        state = inversion.initial_state(self.rows, problem)
        for step in inversion.sampling_steps(problem.steps):
            state = inversion.sample_step(step, state, self.rows, self._velocity, problem)
        return state.latents

    def _velocity(self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int = 0) -> Tensor:
        assert len(rows) == len(latents), f"{len(rows)} rows for {len(latents)} latents"
        self.told.append(sigma)
        return self._field(latents, sigma)
