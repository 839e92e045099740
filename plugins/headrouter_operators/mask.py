"""Let the edit's velocity differ from the source's inside a mask alone, as DecFlowEdit does, arXiv:2609.34237, eq. 5.

    v ← v_s + M·(v_t − v_s)

Where M is 1 the edit goes on as it would, where it is 0 it follows its source, both to the bit.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, final

from pydantic import Field
from torch import Tensor

from headrouter.errors import InvalidInputError
from headrouter.masks.grids import blended
from headrouter.masks.mask import MaskRun
from headrouter.masks.part import MaskPart
from headrouter.methods.method import RunContext
from headrouter.sampling.velocity_operator import OperatorRun, VelocityEvent, VelocityOperator


@final
class MaskOperator(VelocityOperator):
    """Multiplies an edit's difference from its source by a mask; all ones are the plain edit, all zeros the source's row."""

    restores_source: ClassVar[bool] = True
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    mask: MaskPart | None = Field(
        None,
        json_schema_extra={"knob": "mask"},
        description="Where the edit may act: a name, an expression, a picture or array, or a mask object; that of the edit if not "
        "given.",
    )
    strength: float = Field(
        1.0, ge=0, le=1, description="How much the mask holds back: 0 changes nothing, 1 follows the source outside it."
    )

    @property
    def requires(self) -> frozenset[str]:
        """Return what its mask requires."""
        return frozenset() if self.mask is None else self.mask.requires

    def begin(self, context: RunContext) -> OperatorRun:
        """Take part in a run.

        Raises:
            InvalidInputError: there is no mask.
        """
        if self.mask is None:
            raise InvalidInputError(
                "`operator.mask` is missing: the operator 'mask' needs to know where the edit may act. Give a mask, such as "
                "'velocity', 'words' or a black and white picture, to the edit or to the operator."
            )
        return _Run(context.mask(self.mask, until=self.steps(context.steps).stop), self.strength)


@final
class _Run(OperatorRun):
    def __init__(self, mask: MaskRun, strength: float):
        self._mask, self._strength = mask, strength

    def change(self, event: VelocityEvent) -> Tensor:
        def masked(place: int) -> Tensor:
            velocity, mask = event.velocity[place], self._mask.on_latents(event.rows[place])
            if mask is None:
                return velocity
            return blended(event.source_of(place), velocity, 1 - self._strength * (1 - mask))

        return event.changed(masked)
