"""Run an inversion on a velocity field that is known in closed form, and count its evaluations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter import renamed
from headrouter.attention.rows import Row
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.inversion import Inversion, RunInputs, State

Field = Callable[[Tensor, float], Tensor]
"""dx/dσ at latents ``[rows, channels, h, w]`` and noise level σ; rows are sources first, then each edit of every picture."""

Draw = Callable[[str, int], Tensor]
"""Noise of a name and a step."""


@final
class Solved:
    """Integrates an inversion over a field.

    Attributes:
        inputs: Inputs of the run.
        rows: Sources, then edits.
        noise_levels: Noise levels at which the field was evaluated, in order.
        evaluated: Rows of all evaluations together.
    """

    told = renamed.attribute("told", "noise_levels")

    def __init__(
        self,
        field: Field,
        sigmas: Sequence[float],
        source: Tensor,
        noise: Tensor | Draw | None = None,
        *,
        edits: int = 0,
    ):
        """Set up a run on ``source``, ``[images, channels, h, w]``; a tensor as ``noise`` is all its noise."""
        given = torch.zeros_like(source) if noise is None else noise
        draw: Draw = (lambda name, step: given) if isinstance(given, Tensor) else given
        self.inputs = RunInputs(tuple(sigmas), source, draw)
        nothing, images = Prompt("", {}), range(len(source))
        self.rows = [Row(nothing, nothing, 1.0, image=image) for image in images]
        self.rows += [Row(nothing, nothing, 1.0, edit=edit, image=image) for edit in range(edits) for image in images]
        self.noise_levels: list[float] = []
        self.evaluated = 0
        self._field = field

    @property
    def calls(self) -> int:
        """Return the number of evaluations of the field so far."""
        return len(self.noise_levels)

    def invert(self, inversion: Inversion) -> Tensor:
        """Invert the sources and return their latents at noise."""
        state, rows = State(self.inputs.source), [row for row in self.rows if row.is_source]
        for step in inversion.inversion_steps(self.inputs.steps):
            state = inversion.invert_step(step, state, rows, self._velocity, self.inputs)
        return state.latents

    def sample(self, inversion: Inversion, start: Tensor | None = None) -> Tensor:
        """Sample all rows from ``start``, or from where the inversion itself begins, to pictures."""
        inputs, rows = replace(self.inputs, inverted=start), self.rows
        state = inversion.initial_state(rows, inputs)
        for step in inversion.sampling_steps(inputs.steps):
            if any(row.is_source for row in rows) and len(rows) > len(inputs.source):
                rows, state = self._dropped(inversion, step, rows, state)
            state = inversion.sample_step(step, state, rows, self._velocity, inputs)
        return state.latents

    def _dropped(self, inversion: Inversion, step: int, rows: list[Row], state: State) -> tuple[list[Row], State]:
        """Drop sources when no step needs them any more, as the engine does."""
        steps = self.inputs.steps
        if any(inversion.needs_source(later, steps) for later in range(step, steps)):
            return rows, state
        edits = [index for index, row in enumerate(rows) if not row.is_source]
        return [rows[index] for index in edits], state.select(edits)

    def _velocity(
        self, latents: Tensor, sigma: float, rows: Sequence[Row], stage: int = 0, *, alike: bool = False
    ) -> Tensor:
        assert len(rows) == len(latents), f"{len(rows)} rows for {len(latents)} latents"
        assert not alike or are_alike(latents, rows), (
            "rows of one picture are said to be `alike`, and their latents differ"
        )
        self.noise_levels.append(sigma)
        self.evaluated += len(rows)
        return self._field(latents, sigma)


def are_alike(latents: Float[Tensor, "rows channels h w"], rows: Sequence[Row]) -> bool:
    """Return whether rows of one picture have the same latents."""
    first = {row.image: own for row, own in zip(reversed(rows), reversed(latents), strict=True)}
    return all(torch.equal(own, first[row.image]) for row, own in zip(rows, latents, strict=True))
