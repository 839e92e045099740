"""Keep what the calls of a transformer with the same rows have in common."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from headrouter.attention.layout import TokenLayout
from headrouter.attention.rows import BatchRow, Row
from headrouter_diffusers.pipeline.placement import Place


@final
@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """Holds what one call of the transformer shares with the next, as long as rows, size and place are the same.

    Attributes:
        rows: The rows of the run.
        shape: Shape of their latents.
        place: Device and number type, and whether only the model's own code sees the call's tensors.
        batch: Their branches.
        layout: The joint sequence.
    """

    rows: tuple[Row, ...]
    shape: torch.Size
    place: Place
    batch: tuple[BatchRow, ...]
    layout: TokenLayout
    _made: dict[Hashable, Tensor] = field(default_factory=dict)

    def is_of(self, rows: Sequence[Row], shape: torch.Size, place: Place) -> bool:
        """Return whether a call is one of these."""
        return self.rows == tuple(rows) and self.shape == shape and self.place == place

    def once(self, name: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Return what ``make`` gave in the first of these calls; made anew where other code might have changed it in place."""
        *_, unseen = self.place
        if not unseen:
            return make()
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]
