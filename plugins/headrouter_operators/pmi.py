"""Pull velocities of an inversion to their mean: PMI, proximal-mean inversion, arXiv:2602.11850, algorithm 1.

    F(v) = ‖v − v_{k−1}‖₁ + ‖v − v̄_k‖²/(2λ)      v ← v − r_k·∇F(v)/‖∇F(v)‖      r_k = √(2n + 3·√(2n))·Δσ_k

v̄_k is the mean of the velocities so far, this one included, n the number of latents. The first step has none before it and
stays as it is. It evaluates nothing.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.attention.step_info import Phase
from headrouter.methods.method import RunContext
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator
from headrouter_operators.running_mean import RunningMeans

_EPSILON: Final = 1e-12


@final
class ProximalMean(VelocityOperator):
    """Takes one step of the radius r_k down the gradient of F, in each inversion step.

    The radius is published. λ stands in no text that could be read, and is this project's.
    """

    acts_in: ClassVar[Phase] = "invert"
    needs_source: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    strength: float = Field(1.0, ge=0, le=1, description="Share of the radius; published: 1. 0 changes nothing.")
    mean_weight: float = Field(
        1.0, gt=0, description="λ: small pulls to the mean of all velocities, large to the one before."
    )

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in an inversion, with no velocity before."""
        return _Run(self)


@final
class _Run(OperatorRun):
    def __init__(self, parameters: ProximalMean):
        self._parameters, self._means = parameters, RunningMeans()
        self._before: dict[tuple[Row, int], Tensor] = {}

    def change(self, event: VelocityEvent) -> Tensor:
        def pulled(place: int) -> Tensor:
            velocity, row, stage = event.velocity[place], event.rows[place], event.step_info.stage
            mean = self._means.add(row, stage, velocity, event.interval)
            before = self._before.get((row, stage))
            self._before[row, stage] = velocity
            if before is None:
                return velocity
            gradient = (velocity - before).sign() + (velocity - mean) / self._parameters.mean_weight
            doubled = 2 * velocity.numel()
            radius = self._parameters.strength * math.sqrt(doubled + 3 * math.sqrt(doubled)) * abs(event.interval)
            step: Tensor = radius * gradient / (torch.linalg.vector_norm(gradient) + _EPSILON)
            return velocity - step

        return event.changed(pulled)
