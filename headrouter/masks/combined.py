"""Combine masks: union, intersection, complement, growth, smoothing, and a threshold.

Each is a mask made of others, value by value: on the latents, on tokens and on the picture alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce
from typing import final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.masks.context import MaskContext
from headrouter.masks.grids import grown, smoothed
from headrouter.masks.mask import Mask, MaskRun
from headrouter.masks.part import MaskPart

Grids = Sequence[Float[Tensor, "rows columns"]]


class Combined(Mask, ABC):
    """Computes its value from those of other masks."""

    @abstractmethod
    def value(self, parts: Grids) -> Float[Tensor, "rows columns"]:
        """Return the value from those of the parts, on one grid."""

    @property
    def requires(self) -> frozenset[str]:
        """Return the words that its parts require."""
        return frozenset().union(*(part.requires for part in self.parts))

    @property
    def is_soft(self) -> bool:
        """Return whether a part is soft."""
        return any(part.is_soft for part in self.parts)

    def begin(self, context: MaskContext) -> MaskRun:
        """Begin all parts."""
        return _CombinedRun(self, context)


@final
class _CombinedRun(MaskRun):
    """Computes values from the runs of the parts, which the context keeps, so that they listen and scout by themselves."""

    def __init__(self, mask: Combined, context: MaskContext):
        super().__init__(mask, context)
        self._value, self._runs = mask.value, [context.of(part, until=0) for part in mask.parts]

    @property
    def grows(self) -> bool:
        return any(run.grows for run in self._runs)

    def on_latents(self, row: Row) -> Tensor | None:
        return self._of(lambda part: part.on_latents(row))

    def on_picture(self, row: Row, size: tuple[int, int]) -> Tensor | None:
        return self._of(lambda part: part.on_picture(row, size))

    def _of(self, read: Callable[[MaskRun], Tensor | None]) -> Tensor | None:
        found = [read(part) for part in self._runs]
        known = [one for one in found if one is not None]
        return self._value(known) if len(known) == len(found) else None


@final
class Union(Combined):
    """Takes the largest of its parts' values at each place."""

    of: tuple[MaskPart, ...] = Field(min_length=1, description="The masks, of which one is enough.")

    @property
    def parts(self) -> tuple[Mask, ...]:
        """Return the masks."""
        return self.of

    def value(self, parts: Grids) -> Tensor:
        """Return the maximum."""
        return reduce(torch.maximum, parts)


@final
class Intersection(Combined):
    """Takes the smallest of its parts' values at each place."""

    of: tuple[MaskPart, ...] = Field(min_length=1, description="The masks, all of which are needed.")

    @property
    def parts(self) -> tuple[Mask, ...]:
        """Return the masks."""
        return self.of

    def value(self, parts: Grids) -> Tensor:
        """Return the minimum."""
        return reduce(torch.minimum, parts)


@final
class Complement(Combined):
    """Turns a mask round, 1 − M: the edit may act where it did not."""

    of: MaskPart = Field(description="The mask to turn round.")

    @property
    def parts(self) -> tuple[Mask, ...]:
        """Return the mask."""
        return (self.of,)

    def value(self, parts: Grids) -> Tensor:
        """Return 1 − M."""
        return 1 - parts[0]


@final
class Grow(Combined):
    """Grows a mask on all sides, or shrinks it."""

    of: MaskPart = Field(description="The mask to grow.")
    by: float = Field(
        0.05,
        ge=-0.5,
        le=0.5,
        description="Growth on each side as a share of the picture's shorter side, at least one cell of a grid; below 0 the mask "
        "shrinks, and 0 is refused.",
    )

    @property
    def parts(self) -> tuple[Mask, ...]:
        """Return the mask."""
        return (self.of,)

    def model_post_init(self, context: object, /) -> None:
        """Refuse a growth that would have no effect."""
        if self.by == 0:
            raise ValueError("`by` 0 would leave the mask as it is; leave `grow` out")

    def value(self, parts: Grids) -> Tensor:
        """Return the maximum around each place, or the minimum."""
        return grown(parts[0], self.by)


@final
class Smooth(Combined):
    """Smooths a mask by a Gaussian, so that it becomes soft."""

    of: MaskPart = Field(description="The mask to smooth.")
    by: float = Field(0.03, gt=0, le=0.5, description="σ of the Gaussian as a share of the picture's shorter side.")

    @property
    def parts(self) -> tuple[Mask, ...]:
        """Return the mask."""
        return (self.of,)

    @property
    def is_soft(self) -> bool:
        """Return True."""
        return True

    def value(self, parts: Grids) -> Tensor:
        """Return the mean around each place."""
        return smoothed(parts[0], self.by)


@final
class Harden(Combined):
    """Makes a soft mask hard, by a threshold."""

    of: MaskPart = Field(description="The mask to make hard.")
    at: float = Field(0.5, gt=0, le=1, description="Smallest value that becomes 1; what is below becomes 0.")

    @property
    def parts(self) -> tuple[Mask, ...]:
        """Return the mask."""
        return (self.of,)

    @property
    def is_soft(self) -> bool:
        """Return False."""
        return False

    def value(self, parts: Grids) -> Tensor:
        """Return 1 where the value is at least the threshold."""
        return (parts[0] >= self.at).float()
