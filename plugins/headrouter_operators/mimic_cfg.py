"""Pull velocities of sampling to the direction of their mean: mimic-CFG, arXiv:2602.11850, algorithm 2.

    v̄_k: mean of the velocities so far, this one included      p = (⟨v, v̄_k⟩/‖v̄_k‖²)·v̄_k      v ← (1 − w)·p + w·v

The form is that of guidance, with p in the place of the unconditional branch. It evaluates nothing.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.methods.method import RunContext
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator
from headrouter_operators.running_mean import RunningMeans

_EPSILON: Final = 1e-12


@final
class MimicCfg(VelocityOperator):
    """Interpolates an edit's velocity and its projection onto the mean of those before it."""

    needs_source: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any]] = {"weight": 1.0}

    weight: float = Field(
        0.94,
        ge=0,
        le=1,
        description="w, weight of the velocity itself; published: 0.94. Less keeps more of the background, 1 changes nothing.",
    )

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in a run, with no velocity before."""
        return _Run(self.weight)


@final
class _Run(OperatorRun):
    def __init__(self, weight: float):
        self._weight, self._means = weight, RunningMeans()

    def change(self, event: VelocityEvent) -> Tensor:
        def pulled(place: int) -> Tensor:
            velocity = event.velocity[place]
            mean = self._means.add(event.rows[place], event.step_info.stage, velocity, event.interval)
            projection = (velocity * mean).sum() / (mean.square().sum() + _EPSILON) * mean
            return torch.lerp(projection, velocity, self._weight)

        return event.changed(pulled)
