"""Make a mask of where the two prompts' velocities differ, in a pass ahead of the edit, after DecFlowEdit (arXiv:2609.34237).

The scout walks as FlowEdit does, unguided and unsteered, from z = x_0, with fresh noise ε in each step:

    z_s = (1 − σ)·x_0 + σ·ε        z_t = z_s + (z − x_0)        d = v(z_t, target) − v(z_s, source)        z ← z + Δσ·d

E is the norm over channels of the sum of d over the middle half of the steps; its mean over 5×5 cells, clipped to its 10th to 90th
percentile and scaled to [0, 1], is Ẽ, and M = sigmoid((Ẽ − .55)/.08). These constants are from a digest of the paper, not checked
against
it; what its short scout leaves out is not known here, and ``short`` is this project's own: a third of the steps, each three times
as long.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.rows import Row, rows_at
from headrouter.masks.context import MaskContext
from headrouter.masks.grids import convolved
from headrouter.masks.mask import Evaluate, Mask, MaskRun

_LEAST: Final = 4
"""Steps of the shortest scout, so that there is a middle half."""


@final
class VelocityMask(Mask):
    """Lets an edit act where a scout pass finds that the velocities of the two prompts differ."""

    scouts: ClassVar[bool] = True

    form: Literal["full", "short"] = Field(
        "full", description="Scout in the steps of the edit up to the end of their middle half, or in a third of those."
    )
    window: int = Field(
        5, ge=1, description="Cells on a side of the mean that evens the differences out. Published: 5."
    )
    low: float = Field(0.1, ge=0, lt=1, description="Quantile of the differences that becomes 0. Published: 0.1.")
    high: float = Field(0.9, gt=0, le=1, description="Quantile of the differences that becomes 1. Published: 0.9.")
    centre: float = Field(0.55, ge=0, le=1, description="Scaled difference at which the mask is ½. Published: 0.55.")
    width: float = Field(0.08, gt=0, le=10, description="Width of the sigmoid. Published: 0.08.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` must be below `high`, got {self.low} and {self.high}")
        if self.window % 2 == 0:
            raise ValueError(f"`window` must be odd, so that it has a middle, got {self.window}")
        return self

    @property
    def is_soft(self) -> bool:
        """Return True."""
        return True

    def begin(self, context: MaskContext) -> MaskRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source.
        """
        for row in context.edits:
            context.source_of(row, "velocity")
        return _VelocityRun(self, context)

    def levels(self, run: range) -> tuple[list[int], range]:
        """Return the scout's steps, with its end, and the places of the middle half among them.

        >>> VelocityMask().levels(range(4, 12)), VelocityMask(form="short").levels(range(24))
        (([4, 5, 6, 7, 8, 9, 10], range(2, 6)), ([0, 3, 6, 9, 12, 15, 18], range(2, 6)))
        """
        stride = max(1, min(3, len(run) // _LEAST)) if self.form == "short" else 1
        steps = [*run[::stride], run.stop]
        count = len(steps) - 1
        middle = range(count // 4, max(count // 4 + 1, count - count // 4))
        return steps[: middle.stop + 1], middle


@final
class _VelocityRun(MaskRun):
    mask: VelocityMask

    def __init__(self, mask: VelocityMask, context: MaskContext):
        super().__init__(mask, context)
        self._values: dict[Row, Tensor] = {}

    def scout(self, evaluate: Evaluate) -> None:
        sums = difference_sums(self.context, *self.mask.levels(self.context.run), evaluate)
        for row, place in ((row, place) for place, row in enumerate(self.context.rows) if not row.is_source):
            self._values[row] = velocity_mask(sums[place], self.mask)

    def on_latents(self, row: Row) -> Tensor | None:
        return self._values.get(row)


def difference_sums(
    context: MaskContext, steps: Sequence[int], middle: range, evaluate: Evaluate
) -> Float[Tensor, "rows channels h w"]:
    """Walk along the difference of velocities, and return its sum over the ``middle`` of the steps for each row."""
    rows = [replace(row, guidance=1.0) for row in context.rows]
    images = [row.image for row in rows]
    sources = [
        next(place for place, one in enumerate(rows) if one.is_source and one.image == row.image) for row in rows
    ]
    latents = rows_at(context.source, images)
    sums = torch.zeros_like(latents)
    for place, (step, following) in enumerate(pairwise(steps)):
        sigma = context.sigmas[step]
        noise = context.noise("velocity-mask", step) - context.source
        velocity = evaluate(latents + sigma * rows_at(noise, images), sigma, rows)
        difference = velocity - rows_at(velocity, sources)
        latents = latents + (context.sigmas[following] - sigma) * difference
        if place in middle:
            sums = sums + difference
    return sums


def velocity_mask(difference: Float[Tensor, "channels h w"], mask: VelocityMask) -> Float[Tensor, "h w"]:
    """Return M of the summed difference of velocities; 0 where it is the same everywhere, as for equal prompts."""
    size = difference.norm(dim=0)
    even = convolved(size, torch.full((mask.window,), 1 / mask.window, dtype=size.dtype, device=size.device))
    low, high = torch.quantile(
        even.flatten(), torch.tensor([mask.low, mask.high], device=even.device, dtype=even.dtype)
    )
    scaled = (even.clamp(low, high) - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    found = torch.sigmoid((scaled - mask.centre) / mask.width)
    return torch.where(high > low, found, torch.zeros_like(found))
