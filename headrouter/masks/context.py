"""Hold what the masks of one run are made from, and begin each of them once."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headrouter.attention.joint_attention import Site
from headrouter.attention.rows import Row, way_to_a_source
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.masks.mask import Mask, MaskRun

Region = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class MaskContext:
    """Describes the run that masks are about to take part in.

    Attributes:
        rows: All rows, sources and edits.
        sites: The model's joint sites.
        run: Steps that the inversion runs.
        sigmas: The time grid.
        source: Latents of the pictures.
        noise: Draws noise by name and step, once for each picture.
        word_blocks: Sites whose attention shows best where a word acts, best first.
        packed_latents: Whether the model takes its latents packed into tokens.
        size: Width and height of the user's picture; None if there is no picture.
        pictures: The user's pictures, in the order of ``source``; empty if they are not at hand.
        regions: For each picture, where the right edit changes it, by the text of the edit's prompt.
        kept: What masks keep over the runs of a batch, such as a segmentation, which takes long.
        runs: The run of each mask that takes part, parts of others before these.
        until: First step in which each of them is no longer used.
    """

    rows: tuple[Row, ...]
    sites: tuple[Site, ...]
    run: range
    sigmas: tuple[float, ...]
    source: Float[Tensor, "images channels h w"]
    noise: Callable[[str, int], Tensor]
    word_blocks: tuple[int, ...] = ()
    packed_latents: bool = False
    size: tuple[int, int] | None = None
    pictures: Sequence[Image.Image] = ()
    regions: Sequence[Mapping[str, Region]] = ()
    kept: dict[Hashable, Tensor] = field(default_factory=dict)
    runs: dict[Mask, MaskRun] = field(default_factory=dict)
    until: dict[Mask, int] = field(default_factory=dict)

    def of(self, mask: Mask, until: int | None = None) -> MaskRun:
        """Return the run of a mask, which all that ask for an equal mask share.

        Args:
            mask: The mask.
            until: First step in which the asker no longer uses it; the end of the run if None.

        Raises:
            HeadRouterError: the mask cannot be made in this run.
        """
        if mask not in self.runs:
            self.runs[mask] = mask.begin(self)
        stop = self.run.stop if until is None else until
        self.until[mask] = max(self.until.get(mask, 0), stop)
        for part in mask.parts:
            self.of(part, stop)
        return self.runs[mask]

    @property
    def edits(self) -> list[Row]:
        """Return the rows of edits."""
        return [row for row in self.rows if not row.is_source]

    @property
    def grid(self) -> tuple[int, int]:
        """Return rows and columns of the latents."""
        return self.source.shape[-2], self.source.shape[-1]

    def source_of(self, row: Row, name: str) -> Row:
        """Return the source's row of an edit, for the mask that is registered as ``name``.

        Raises:
            IncompatibleError: the run has none.
        """
        found = next((other for other in self.rows if other.is_source and other.image == row.image), None)
        if found is None:
            raise IncompatibleError(
                f"`mask` {name!r} compares an edit with its source, and this run has no source. {way_to_a_source(self.rows)}, "
                "or give a mask of your own."
            )
        return found

    def blocks(self, chosen: Sequence[int], field_name: str = "blocks") -> frozenset[int]:
        """Return the sites of block numbers.

        Raises:
            InvalidInputError: a block that the model does not have.
        """
        count = len(self.sites)
        if unknown := [block for block in chosen if not 0 <= block < count]:
            raise InvalidInputError(
                f"`mask.{field_name}` {unknown} do not exist: the model has joint blocks 0 to {count - 1}."
            )
        return frozenset(chosen)

    def on_device(self, mask: Tensor) -> Tensor:
        """Return a mask as float32 where the latents are."""
        return mask.to(self.source.device, torch.float32)

    def refuse_other_size(self, size: tuple[int, int]) -> None:
        """Refuse a mask whose width and height are not those of the user's picture.

        Raises:
            InvalidInputError: naming both sizes.
        """
        if self.size is not None and size != self.size:
            same = abs(size[0] * self.size[1] - size[1] * self.size[0]) <= max(*size, *self.size)
            aspect = "" if same else " It has another aspect, too: is it of another picture, or turned?"
            raise InvalidInputError(
                f"`mask` must have the size of the picture, {self.size[0]}x{self.size[1]} pixels, got {size[0]}x{size[1]}. Resize "
                f"the mask.{aspect}"
            )
