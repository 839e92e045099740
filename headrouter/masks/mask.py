"""Define the interface of masks, which say where an edit may act.

A mask is a frozen set of parameters. For each run it makes a :class:`MaskRun`, which gives a value to each edit: 1 where the edit
may act, 0 where the source stays, and values between for a soft mask. Masks combine by ``|``, ``&``, ``~``, :meth:`Mask.grown`,
:meth:`Mask.smoothed` and :meth:`Mask.hardened`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.config.configuration import Parameters
from headrouter.masks.grids import resampled

if TYPE_CHECKING:
    from headrouter.masks.combined import Complement, Grow, Harden, Intersection, Smooth, Union
    from headrouter.masks.context import MaskContext

Evaluate = Callable[[Tensor, float, Sequence[Row]], Tensor]
"""``evaluate(latents, sigma, rows)`` gives the velocity of each row, from one model call, counted."""


class Mask(Parameters, ABC):
    """Says where an edit may act, by its parameters, which are its fields."""

    scouts: ClassVar[bool] = False
    """Whether the mask runs the model ahead of the edit, see :meth:`MaskRun.scout`."""

    @property
    def parts(self) -> "tuple[Mask, ...]":
        """Return the masks that it is made of; none by default."""
        return ()

    def leaves(self) -> "Iterator[Mask]":
        """Yield the masks that it is made of in the end, itself if it is made of none."""
        for part in self.parts:
            yield from part.leaves()
        if not self.parts:
            yield self

    @property
    def requires(self) -> frozenset[str]:
        """Return the capability words that the backbone must provide; none by default."""
        return frozenset()

    @property
    @abstractmethod
    def is_soft(self) -> bool:
        """Return whether values between 0 and 1 occur."""

    @abstractmethod
    def begin(self, context: "MaskContext") -> "MaskRun":
        """Take part in a run; refuse what cannot work, before the model runs."""

    def __or__(self, other: "Mask") -> "Union":
        """Return the union: the larger value at each place."""
        from headrouter.masks.combined import Union

        return Union(of=(self, other))

    def __and__(self, other: "Mask") -> "Intersection":
        """Return the intersection: the smaller value at each place."""
        from headrouter.masks.combined import Intersection

        return Intersection(of=(self, other))

    def __invert__(self) -> "Complement":
        """Return the complement, 1 − M."""
        from headrouter.masks.combined import Complement

        return Complement(of=self)

    def grown(self, by: float) -> "Grow":
        """Return the mask grown on all sides by a share of the shorter side; shrunk where ``by`` is negative."""
        from headrouter.masks.combined import Grow

        return Grow(of=self, by=by)

    def smoothed(self, by: float) -> "Smooth":
        """Return the mask smoothed by a Gaussian, whose σ is a share of the shorter side."""
        from headrouter.masks.combined import Smooth

        return Smooth(of=self, by=by)

    def hardened(self, at: float = 0.5) -> "Harden":
        """Return the hard mask of values of at least ``at``."""
        from headrouter.masks.combined import Harden

        return Harden(of=self, at=at)


class MaskRun(ABC):
    """Gives the mask of each edit in one run. Hooks that are not overridden listen to nothing.

    A value is that after the last model call: a mask from attention grows from call to call, and does not change within one.
    """

    def __init__(self, mask: Mask, context: "MaskContext"):
        """Begin with the mask and the run."""
        self.mask, self.context = mask, context

    @property
    def sites(self) -> frozenset[int]:
        """Return the attention sites that the mask listens to, by number."""
        return frozenset()

    @property
    def grows(self) -> bool:
        """Return whether the mask comes to be known in the course of the run, not before the first step."""
        return bool(self.sites)

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        """Return the text positions whose attention is needed, by place in the batch."""
        return {}

    def hear(self, event: JointAttention, output: Float[Tensor, "rows heads tokens channels"]) -> None:
        """Take note of one attention, of what the model's kernel gave."""

    def end_call(self) -> None:
        """Take what was noted in a model call into the values."""

    def scout(self, evaluate: Evaluate) -> None:
        """Run the model ahead of the edit, unsteered."""

    @abstractmethod
    def on_latents(self, row: Row) -> Float[Tensor, "h w"] | None:
        """Return the value of an edit's mask on the latents' grid, float32; None while it is not known."""

    def on_tokens(self, row: Row, grid: tuple[int, int]) -> Float[Tensor, "rows columns"] | None:
        """Return the value on the grid of image tokens; None as long as it is not known."""
        found = self.on_latents(row)
        return None if found is None else resampled(found, grid, self.mask.is_soft)

    def on_picture(self, row: Row, size: tuple[int, int]) -> Float[Tensor, "height width"] | None:
        """Return the value on the user's picture of ``size``, height and width; None as long as it is not known."""
        found = self.on_latents(row)
        return None if found is None else resampled(found, size, self.mask.is_soft)


@final
class NoMask(Mask):
    """Lets an edit act everywhere, as without a mask."""

    @property
    def is_soft(self) -> bool:
        """Return False."""
        return False

    def begin(self, context: "MaskContext") -> MaskRun:
        """Take part in a run."""
        return _Everywhere(self, context)


@final
class _Everywhere(MaskRun):
    def on_latents(self, row: Row) -> Tensor | None:
        return torch.ones(self.context.grid, dtype=torch.float32, device=self.context.source.device)
