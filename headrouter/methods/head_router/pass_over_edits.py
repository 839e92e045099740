"""Steer the attention of a batch's edits, those of one picture together, with one pass over their outputs."""

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.head_router.rows import edits_of
from headrouter.methods.head_router.steering import steer_

if TYPE_CHECKING:
    from headrouter.methods.head_router.head_routing import HeadRoutingRun
    from headrouter.methods.head_router.image_tokens import ImageTokenRun


def steered(
    event: JointAttention,
    output: Float[Tensor, "rows heads tokens channels"],
    heads: "HeadRoutingRun | None",
    image: "ImageTokenRun | None",
) -> Float[Tensor, "rows heads tokens channels"]:
    """Return ``output`` with the conditional rows of edits steered, in the strides that the kernel wrote.

    Weights of heads are found before anything is written; features of image tokens, where they are refined, come last.
    """
    edits_of_pictures = list(edits_of(event))
    if not edits_of_pictures:
        return output
    result = event.writable(output)
    for edits in edits_of_pictures:
        amplification = heads.amplification(event, edits, output) if heads is not None else None
        edit, extents = result[edits.batch], []
        for chosen, refinement in image.refinements(event, edits) if image is not None else ():
            some = None if amplification is None else amplification.of(chosen)
            extent = steer_(edit[:, chosen], event.layout.image, some, refinement)
            assert extent is not None
            extents.append(extent)
        if not extents and amplification is not None:
            steer_(edit, event.layout.image, amplification, None)
        if image is not None:
            if extents:
                image.report(event, edits, extents)
            image.refine_features_(event, edit)
    return result
