"""Take the velocity to the picture itself where the model's is close to it: VeloEdit, arXiv:2603.13388.

    v_r = (x − x_0)/σ      s = |v_r|/(|v_r| + |v − v_r|), in each latent      v ← v_r where s ≥ threshold
                                                                              v ← blend·v_r + (1 − blend)·v elsewhere

Published for models that edit by instruction, in the first of six steps. Here x is where the model was evaluated.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.methods.method import RunContext
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator


@final
class VeloEdit(VelocityOperator):
    """Replaces the velocity of edits, in each latent by itself, by that of the straight line to the picture."""

    needs_source: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any]] = {"threshold": 1.0, "blend": 0.0}

    stop: StepOrFraction = Field(
        1 / 6, description="First step after those in which it acts, or fraction; published: 1 of 6 steps."
    )
    threshold: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Similarity from which a latent takes the picture's velocity; published: 0.8. 1 replaces none.",
    )
    blend: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the picture's velocity in the other latents; published: 0 to 0.8, for weaker edits.",
    )

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in a run."""
        return _Run(self.threshold, self.blend)


@final
class _Run(OperatorRun):
    def __init__(self, threshold: float, blend: float):
        self._threshold, self._blend = threshold, blend

    def change(self, event: VelocityEvent) -> Tensor:
        sigma = event.step_info.sigma

        def replaced(place: int) -> Tensor:
            velocity = event.velocity[place]
            reference = (event.latents[place] - event.picture[place]) / sigma
            alike = self._threshold * (velocity - reference).abs() <= (1 - self._threshold) * reference.abs()
            return torch.where(alike, reference, torch.lerp(velocity, reference, self._blend))

        return event.changed(replaced)
