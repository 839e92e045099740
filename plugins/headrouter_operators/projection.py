"""Project the difference of two velocities off the source's velocity, as OAVC does, arXiv:2609.06288.

    d = v_t − v_s        v ← v_t − strength·⟨d, v_s⟩/(⟨v_s, v_s⟩ + ε)·v_s

What of an edit is parallel to the source's own motion moves structure; the part orthogonal to it is kept. At strength 1 the new
difference is orthogonal to v_s.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, final

from pydantic import Field
from torch import Tensor

from headrouter.methods.method import RunContext
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator

_EPSILON: Final = 1e-8


@final
class Projection(VelocityOperator):
    """Takes out of an edit's difference from its source what is parallel to the source's velocity."""

    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    strength: float = Field(
        1.0, ge=0, le=1, description="Share of the parallel part that is taken out; published: 1. 0 changes nothing."
    )
    within: Literal["picture", "place"] = Field(
        "picture",
        description="Vectors that are projected: one of the whole picture, as published, or one of the channels of each place.",
    )

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in a run."""
        return _Run(self.strength, (-3, -2, -1) if self.within == "picture" else (-3,))


@final
class _Run(OperatorRun):
    def __init__(self, strength: float, dimensions: tuple[int, ...]):
        self._strength, self._dimensions = strength, dimensions

    def change(self, event: VelocityEvent) -> Tensor:
        def projected(place: int) -> Tensor:
            target, source = event.velocity[place], event.source_of(place)
            along = ((target - source) * source).sum(self._dimensions, keepdim=True)
            share = along / (source.square().sum(self._dimensions, keepdim=True) + _EPSILON)
            return target - self._strength * share * source

        return event.changed(projected)
