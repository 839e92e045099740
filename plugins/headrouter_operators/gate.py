"""Gate the difference of two velocities by its size over the steps, as OAVC does, arXiv:2609.06288.

    m_k = RMS(v_t − v_s)      m̄_k = ρ·m̄_{k−1} + (1 − ρ)·m_k      g = sigmoid((κ − m_k/m̄_k)/τ)      v ← v_s + g·(v_t − v_s)

A difference that is suddenly larger than in the steps before is weakened. The first difference of a run is its own mean.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator

_EPSILON: Final = 1e-8


@final
class Gate(VelocityOperator):
    """Weakens an edit's difference from its source where it is larger than it was.

    The form is the paper's as a digest describes it; κ, τ and ρ stand in no text that could be read, and are this project's.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    strength: float = Field(1.0, ge=0, le=1, description="Share of the gate: 0 changes nothing, 1 gates by g itself.")
    threshold: float = Field(1.5, gt=0, description="κ, ratio of a difference to its mean at which half of it passes.")
    softness: float = Field(0.1, gt=0, description="τ, width of the gate in the same ratio.")
    memory: float = Field(0.9, ge=0, lt=1, description="ρ, weight of the mean so far in the next one.")

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in a run, with no mean yet."""
        return _Run(self)


@final
class _Run(OperatorRun):
    def __init__(self, gate: Gate):
        self._gate = gate
        self._means: dict[tuple[Row, int], Tensor] = {}

    def change(self, event: VelocityEvent) -> Tensor:
        gate = self._gate

        def gated(place: int) -> Tensor:
            target, source = event.velocity[place], event.source_of(place)
            size, key = (target - source).square().mean().sqrt(), (event.rows[place], event.step_info.stage)
            mean = gate.memory * self._means.get(key, size) + (1 - gate.memory) * size
            self._means[key] = mean
            passing = torch.sigmoid((gate.threshold - size / (mean + _EPSILON)) / gate.softness)
            return torch.lerp(source, target, 1 - gate.strength * (1 - passing))

        return event.changed(gated)
