"""Hold one picture of a batch, with all that is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headrouter.masks.context import Region


@final
@dataclass(frozen=True, eq=False)
class Task:
    """Holds one picture of a batch, with its prompts and the seeds of its noise.

    Attributes:
        prompts: One edit each.
        seeds: Each edit is done once with the noise of each.
        source: Prompt of the source's row, which describes the picture, or is the null instruction; None where there is no such
            row.
        pixels: The picture at the working size, in [−1, 1]; None for a new picture, from noise.
        references: Reference pictures beside it, in [−1, 1], each at a size of its own; of the same sizes in all tasks.
        picture: The user's picture, for masks.
        regions: Where the right edit changes it, by prompt, for masks, as far as that is known.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    source: str | None = None
    pixels: Float[Tensor, "1 3 height width"] | None = None
    references: tuple[Float[Tensor, "1 3 height width"], ...] = ()
    picture: Image.Image | None = None
    regions: Mapping[str, Region] = field(default_factory=dict)
