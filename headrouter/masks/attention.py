"""Make a mask of where the edit's attention departs from its source's, an option of this project.

A is the distance ‖o_e − o_r‖ over all heads between the attention outputs of the edit's and of the source's row, in each image
token, over the largest of the block; mean over blocks and over the steps so far. It needs no words and no ranking of blocks.

Where prompts are instructions every token of the image attends to other text than in the source's row, so that A has a floor of a
third of its largest value and more; θ is above it there.
"""

from typing import Final, final

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.attention.step_mean import StepMean
from headrouter.masks.context import MaskContext
from headrouter.masks.mask import Mask, MaskRun

THETA: Final = 0.2
THETA_OF_INSTRUCTIONS: Final = 0.6
"""Thresholds by default: where prompts describe pictures, and where the picture is a reference of the model."""


@final
class AttentionMask(Mask):
    """Lets an edit act where its attention outputs depart from its source's; it grows surer from step to step."""

    theta: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="θ, share of the largest departure above which a place is in. By default 0.2, and 0.6 where the model is given "
        "the picture as a reference: another instruction departs everywhere.",
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Numbers of the joint blocks whose outputs count; all by default."
    )

    @property
    def requires(self) -> frozenset[str]:
        """Require attention."""
        return frozenset({"joint-attention"})

    @property
    def is_soft(self) -> bool:
        """Return False."""
        return False

    def begin(self, context: MaskContext) -> MaskRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source.
            InvalidInputError: a block that the model does not have.
        """
        for row in context.edits:
            context.source_of(row, "attention")
        return _AttentionRun(self, context)


@final
class _AttentionRun(MaskRun):
    mask: AttentionMask

    def __init__(self, mask: AttentionMask, context: MaskContext):
        super().__init__(mask, context)
        self._blocks = context.blocks(range(len(context.sites)) if mask.blocks is None else mask.blocks)
        referring = any(row.references for row in context.edits)
        self._theta = mask.theta if mask.theta is not None else THETA_OF_INSTRUCTIONS if referring else THETA
        self._maps: dict[Row, StepMean] = {}
        self._values: dict[Row, Tensor] = {}

    @property
    def sites(self) -> frozenset[int]:
        return self._blocks

    def hear(self, event: JointAttention, output: Tensor) -> None:
        image = event.layout.image
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                found = departure(output[item.pair][:, image], output[place][:, image])
                self._maps.setdefault(item.row, StepMean()).add(event.step_info.step, found.view(event.layout.grid))

    def end_call(self) -> None:
        size, theta = self.context.grid, self._theta
        self._values = {row: departure_mask(found.mean(), size, theta).float() for row, found in self._maps.items()}

    def on_latents(self, row: Row) -> Tensor | None:
        return self._values.get(row)


def departure(
    source_output: Float[Tensor, "heads tokens channels"], edit_output: Float[Tensor, "heads tokens channels"]
) -> Float[Tensor, "tokens"]:
    """Return ‖e − r‖ of each token over all heads and channels, over the largest; 0 where equal.

    >>> r, e = torch.zeros(2, 3, 1), torch.tensor([[[0.0], [3.0], [6.0]], [[0.0], [4.0], [8.0]]])
    >>> departure(r, e).tolist(), departure(e, e).tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.0, 0.0])
    """
    distance = (edit_output.float() - source_output.float()).square().sum(dim=(0, 2)).sqrt()
    return distance / distance.amax().clamp(min=torch.finfo(torch.float32).tiny)


def departure_mask(
    map: Float[Tensor, "rows columns"],  # noqa: A002
    size: tuple[int, int],
    theta: float,
) -> Bool[Tensor, "latent_rows latent_columns"]:
    """Return the mask where a map of departures, over its largest, is above θ: whole tokens, unsmoothed."""
    upsampled = functional.interpolate(map[None, None], size=size, mode="nearest")[0, 0]
    return upsampled / upsampled.amax().clamp(min=torch.finfo(torch.float32).tiny) > theta
