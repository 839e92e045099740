"""Name heads by block and number, and measure how far each reacts to an edit."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, Site
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.head_weights import dissimilarity

Heads = tuple[tuple[int, int], ...]
"""Pairs of a joint layer's number and a head of it."""


def heads_by_block(heads: Heads, sites: Sequence[Site]) -> dict[int, list[int]]:
    """Return heads by joint layer, each once, in the order given.

    Raises:
        InvalidInputError: a layer or head that the model does not have.
    """
    chosen: dict[int, list[int]] = {}
    for block, head in dict.fromkeys(heads):
        if not 0 <= block < len(sites) or not 0 <= head < sites[block].heads:
            most = max(site.heads for site in sites) - 1
            raise InvalidInputError(
                f"`heads` [{block}, {head}] does not exist: the model has joint layers 0 to {len(sites) - 1} with heads 0 to "
                f"{most}; a head is given as [layer, head]."
            )
        chosen.setdefault(block, []).append(head)
    return chosen


def reaction(
    event: JointAttention,
    output: Float[Tensor, "rows heads tokens channels"],
    place: int,
    compare: Literal["all", "image"] = "all",
) -> Float[Tensor, "heads"]:
    """Return c = 1 − cos of each head's output in an edit's row and in its source's, arXiv:2411.15034, eq. 12.

    Args:
        event: Attention whose rows are compared.
        output: Output of its heads.
        place: Place of the edit's row in the batch; its source runs with it.
        compare: Tokens that enter: all that are no padding in either row, or those of the image, as where the model discards the
            text's output.
    """
    pair = event.rows[place].pair
    assert pair is not None, "a source to compare with"
    only_image = compare == "image" or not event.site.text_output
    tokens = event.layout.image if only_image else event.tokens_of(pair, place)
    return dissimilarity(output[pair][:, tokens], output[place][:, tokens])
