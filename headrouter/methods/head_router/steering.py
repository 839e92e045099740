"""Change the outputs of edits in place: amplify heads, and refine image tokens, arXiv:2411.15034, eq. 18 and 20.

Shapes: e edits of one picture, h heads, s tokens of the sequence, t amplified ones, n image tokens, k text keys, d channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.fused import fused
from headrouter.methods.head_router.token_weights import Form, token_sigmoids, token_weights


@final
@dataclass(frozen=True, slots=True, eq=False)
class Amplification:
    """Lets heads act more: e ← e + g·(e − r), or e ← w·e, w = 1 + g.

    Attributes:
        gain: g = w − 1 of eq. 16, float32.
        tokens: Tokens in which it acts: those of the image, or all.
        reach: Share of it that acts in each token of the image; all of it if not given.
        source: r, the output of the source's row; None multiplies e alone.
    """

    gain: Float[Tensor, "e h"]
    tokens: slice
    reach: Float[Tensor, "e t"] | None = None
    source: Float[Tensor, "1 h s d"] | None = None

    def of(self, heads: slice) -> "Amplification":
        """Return the amplification of some heads."""
        source = self.source
        return replace(self, gain=self.gain[:, heads], source=None if source is None else source[:, heads])

    def gain_of_tokens(self) -> Float[Tensor, "e h t_or_1 1"]:
        """Return g of each token."""
        gain = self.gain[..., None, None]
        return gain if self.reach is None else gain * self.reach[:, None, :, None]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """Adds Σ_j (ŵ[i, j] − 1)·A[i, j]·v_j to image token i.

    Attributes:
        probabilities: A, float32.
        value: v of the text keys.
        keys: Number of each edit's keys, of which there are at most K; A is 0 in the others.
        alpha, nu, form: Parameters of :func:`token_weights`.
    """

    probabilities: Float[Tensor, "e h n k"]
    value: Float[Tensor, "e h k d"]
    keys: Sequence[int]
    alpha: float
    nu: float
    form: Form


Extent = Float[Tensor, "edits 3"]
"""Of each edit the sum of |ŵ − 1|, the largest ŵ/α and the smallest; of an edit without keys 0, 1, 1."""


@fused("headrouter.methods.head_router.fused.steering:steer_")
def steer_(
    edit_EHSD: Float[Tensor, "e h s d"],
    image: slice,
    amplification: Amplification | None,
    refinement: Refinement | None,
) -> Extent | None:
    """Write e + g·(e − r) + Δ over e, in the outputs' precision; return how far ŵ goes.

    Where ``amplification`` has no source: w·(e + Δ), as in the paper, which weighs heads after image tokens are refined.
    """
    if amplification is not None:
        amplify_(edit_EHSD, amplification)
    if refinement is None:
        return None
    probabilities = refinement.probabilities
    sigmoids = token_sigmoids(probabilities, refinement.nu, refinement.form)
    excess = torch.rsub(sigmoids, -1, alpha=-refinement.alpha)  # ŵ − 1 = α·σ − 1, in one operation
    if amplification is not None and amplification.source is None:
        probabilities = probabilities * (1 + amplification.gain_of_tokens())
    change = _product(excess, probabilities, edit_EHSD.dtype)
    for edit, change_HNK, value_HKD in zip(edit_EHSD[:, :, image], change, refinement.value, strict=True):
        edit.baddbmm_(change_HNK, value_HKD)
    extents = [
        _extent(own[..., :keys], more[..., :keys])
        for own, more, keys in zip(sigmoids, excess, refinement.keys, strict=True)
    ]
    return extents[0][None] if len(extents) == 1 else torch.stack(extents)


def amplify_(edit_EHSD: Float[Tensor, "e h s d"], amplification: Amplification) -> None:
    """Write e + g·(e − r), or e + g·e, over e: one pass in the outputs' precision, rounded once.

    >>> edit, source = torch.tensor([[[[2.0]], [[2.0]]]]), torch.tensor([[[[1.0]], [[5.0]]]])
    >>> amplify_(edit, Amplification(torch.tensor([[0.5, 0.0]]), slice(0, 1), source=source))
    >>> edit.flatten().tolist()
    [2.5, 2.0]
    """
    edit, source = edit_EHSD[:, :, amplification.tokens], amplification.source
    gain = amplification.gain_of_tokens()
    if source is None:
        edit.addcmul_(edit, gain.to(edit.dtype))
    else:
        edit.lerp_(source[:, :, amplification.tokens], _product(gain, -1, edit.dtype))


def steered_reference(
    edit_EHSD: Float[Tensor, "e h s d"],
    image: slice,
    amplification: Amplification | None,
    refinement: Refinement | None,
) -> Float[Tensor, "e h s d"]:
    """Return what :func:`steer_` writes, in the paper's order and in float64: the specification."""
    steered = edit_EHSD.double()
    if refinement is not None:
        block = refinement.probabilities.double()
        weights = token_weights(block, refinement.alpha, refinement.nu, refinement.form)
        steered = steered.clone()
        steered[:, :, image] += ((weights - 1) * block) @ refinement.value.double()
    if amplification is not None:
        tokens, source, gain = amplification.tokens, amplification.source, amplification.gain_of_tokens().double()
        acting = steered if source is None else edit_EHSD.double() - source.double()
        added = torch.zeros_like(steered)
        added[:, :, tokens] = gain * acting[:, :, tokens]
        steered = steered + added
    return steered


def _product(one: Tensor, other: Tensor | float, dtype: torch.dtype) -> Tensor:
    """Return a product that is computed in float32 and rounded to ``dtype``, in one operation."""
    return torch.mul(one, other, out=torch.empty_like(one, dtype=dtype))


def _extent(sigmoids_HNK: Float[Tensor, "h n k"], excess_HNK: Float[Tensor, "h n k"]) -> Float[Tensor, "3"]:
    if not sigmoids_HNK.shape[-1]:
        none = sigmoids_HNK.new_ones(3)
        none[0] = 0
        return none
    found = sigmoids_HNK.new_empty(3)
    torch.sum(excess_HNK.abs(), dim=(0, 1, 2), out=found[0])  # a norm would add float32 one by one on a CPU
    torch.aminmax(sigmoids_HNK, out=(found[2], found[1]))
    return found
