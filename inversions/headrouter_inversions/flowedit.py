"""Edit by FlowEdit, along the difference of two velocities, without inversion, arXiv:2412.08629.

z starts at the picture x_0. In each of the last ``last_steps`` (n_max) steps, with fresh noise ε:

    z_s = (1 − σ)·x_0 + σ·ε        z_t = z_s + (z − x_0)        z ← z + Δσ·mean over ε of [v(z_t, target) − v(z_s, source)]

The last ``plain_steps`` (n_min) of them sample the target alone, from x = z + σ·(ε − x_0).

``offset`` generalises z_t as DRFS does, arXiv:2509.05342: z_t = (1 − σ)·z + σ·ε + c·(z − x_0), where c = σ is FlowEdit and c = 0
compares both pictures at the same noise, as delta denoising does (DDS).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.rows import Row, rows_at
from headrouter.config.step_or_fraction import StepOrFraction, step_of
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.sampling.directions import OneWay
from headrouter.sampling.inversion import RunInputs, State, StrengthScale, Velocity, per_row


@final
class FlowEdit(OneWay):
    """Steps along the difference of two velocities of one evaluation, so that methods compare them as a pair.

    Between steps the source's row is x_0 and an edit's row is z, so that a local blend compares pictures. In the plain steps the
    source's row, where a method keeps it, is x_0 noised as the edits are, and is sampled like them.

    (n_max − n_min)·n_avg + n_min model calls; an edit and its source are 2·(n_max − n_min)·n_avg + n_min rows of them, before
    guidance doubles any. In two passes, where nothing listens to attention, calls of the first step take a row less for each edit.
    Equal prompts at equal guidance give the picture exactly if n_min is 0.
    """

    strengths: ClassVar[StrengthScale | None] = StrengthScale("last_steps", (0.5, 0.6, 0.7))

    source_guidance: float = Field(
        1.5,
        gt=0,
        lt=1000,
        description="Guidance of the source's row; published: 1.5 for Flux, 3.5 for SD3. 0 would not see the source prompt, "
        "and leave methods nothing to compare with.",
    )
    last_steps: StepOrFraction = Field(
        0.8,
        description="n_max, steps that are run, counted from the end, or fraction; published: 24 of 28 for Flux, 33 of 50 for SD3. "
        "Fewer keep more of the source.",
    )
    plain_steps: StepOrFraction = Field(
        0, description="n_min, steps at the end that sample the target alone, or fraction; published: 0."
    )
    averages: int = Field(1, ge=1, le=1000, description="n_avg, draws of noise in each step; published: 1.")
    offset: Annotated[float, Field(ge=0, le=1)] | Literal["progress"] = Field(
        1.0,
        description="c/σ, how far the edit so far is moved on in its noised latents: 1 is FlowEdit, 0 is delta denoising, and "
        "`progress` is i/N in step i of N, as published with DRFS.",
    )

    @model_validator(mode="after")
    def _counts_are_ordered(self) -> Self:
        if self.last_steps == 0:
            raise ValueError("`last_steps` must leave a step to run, got 0")
        if type(self.plain_steps) is type(self.last_steps) and self.plain_steps > self.last_steps:
            raise ValueError(
                f"`plain_steps` are among `last_steps`, so there cannot be more of them; got {self.plain_steps} of "
                f"{self.last_steps}"
            )
        return self

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return the guidance of an edit, or the source's own."""
        return self.source_guidance if row_is_source else guidance

    def sampling_steps(self, steps: int) -> range:
        """Return the last n_max steps."""
        last, plain = step_of(self.last_steps, steps), step_of(self.plain_steps, steps)
        if last == 0:
            raise InvalidInputError(f"`inversion.last_steps` {self.last_steps} of {steps} steps leaves no step to run.")
        if plain > last:
            raise InvalidInputError(
                f"`inversion.plain_steps` {self.plain_steps} is more than `inversion.last_steps` {self.last_steps} in a run of "
                f"{steps} steps."
            )
        return range(steps - last, steps)

    def needs_source(self, step: int, steps: int) -> bool:
        """Return whether velocities are subtracted at this step."""
        return step < steps - step_of(self.plain_steps, steps)

    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return x_0 in all rows."""
        return State(per_row(inputs.source, rows))

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Take a step along the difference, or of plain sampling."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        if self.needs_source(step, inputs.steps):
            return State(state.latents + (following - current) * self._difference(step, state, rows, velocity, inputs))
        first = step == inputs.steps - step_of(self.plain_steps, inputs.steps)
        latents = _noised(step, 0, state, rows, inputs) if first else state.latents
        return State(latents + (following - current) * velocity(latents, current, rows))

    def _difference(
        self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs
    ) -> Float[Tensor, "rows channels h w"]:
        """Return the mean over draws of v(z_t) − v(z_s) in rows of edits; 0 in rows of sources.

        Raises:
            IncompatibleError: there is no source to subtract.
        """
        source_of = {row.image: index for index, row in enumerate(rows) if row.is_source}
        if any(row.image not in source_of for row in rows):
            raise IncompatibleError(
                "`flowedit` subtracts the source's velocity from the edit's, and this run has no source. Edit a picture."
            )
        sources = [source_of[row.image] for row in rows]
        total = torch.zeros_like(state.latents)
        first = step == self.sampling_steps(inputs.steps).start  # z is x_0 still, and z_t is z_s
        for draw in range(self.averages):
            latents = _noised(step, draw, state, rows, inputs)
            if (share := step / inputs.steps if self.offset == "progress" else self.offset) != 1:
                lag = inputs.sigmas[step] * (1 - share)
                latents = latents - lag * (state.latents - per_row(inputs.source, rows))
            velocities = velocity(latents, inputs.sigmas[step], rows, stage=draw, alike=first)
            total += velocities - rows_at(velocities, sources)
        return total / self.averages


def _noised(
    step: int, draw: int, state: State, rows: Sequence[Row], inputs: RunInputs
) -> Float[Tensor, "rows channels h w"]:
    """Return x + σ·(ε − x_0): z_s in rows of sources (x is x_0), z_t in rows of edits."""
    noise = inputs.noise(f"flowedit-{draw}", step)
    return state.latents + inputs.sigmas[step] * per_row(noise - inputs.source, rows)
