"""Give masks with a known value, to check what takes a mask."""

from typing import final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.masks.context import MaskContext
from headrouter.masks.mask import Mask, MaskRun


@final
class ConstantMask(Mask):
    """Has one value everywhere: at 1 an edit is the plain one, at 0 the source."""

    value: float = Field(1.0, ge=0, le=1, description="The value.")

    @property
    def is_soft(self) -> bool:
        """Return whether the value is between 0 and 1."""
        return 0 < self.value < 1

    def begin(self, context: MaskContext) -> MaskRun:
        """Take part in a run."""
        return _ConstantRun(self, context)


@final
class _ConstantRun(MaskRun):
    mask: ConstantMask

    def on_latents(self, row: Row) -> Tensor | None:
        return torch.full(self.context.grid, self.mask.value, dtype=torch.float32, device=self.context.source.device)
