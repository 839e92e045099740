"""Keep what the calls of a transformer with the same rows have in common."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from headrouter.attention.layout import TokenLayout
from headrouter.attention.rows import BatchRow, Row
from headrouter_diffusers.attention.inference import ordinary
from headrouter_diffusers.compat import version_of
from headrouter_diffusers.pipeline.placement import Place


@final
@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """Holds what calls of the transformer share as long as rows, shape and place are the same.

    Attributes:
        rows: The rows of the run.
        shape: Shape of their latents.
        place: Where the transformer computes.
        batch: Their branches.
        layout: The joint sequence.
    """

    rows: tuple[Row, ...]
    shape: torch.Size
    place: Place
    batch: tuple[BatchRow, ...]
    layout: TokenLayout
    _made: dict[Hashable, tuple[Tensor, int]] = field(default_factory=dict)

    def is_of(self, rows: Sequence[Row], shape: torch.Size, place: Place) -> bool:
        """Return whether rows, shape and place are those of this call."""
        return self.rows == tuple(rows) and self.shape == shape and self.place == place

    def once(self, name: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Return what ``make`` gave in the first of these calls.

        It is made anew where somebody changed it in place since, and at each call where code of others may see it.
        """
        *_, unseen = self.place
        if not unseen:
            return make()
        if name in self._made:
            tensor, version = self._made[name]
            if version_of(tensor) == version:
                return tensor
        with ordinary():  # tensors of inference mode have no versions
            tensor = make()
        self._made[name] = tensor, version_of(tensor)
        return tensor
