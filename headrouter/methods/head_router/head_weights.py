"""Compute the weights of the instance-adaptive head router, arXiv:2411.15034, eq. 12–18, as pure functions.

The prose of the paper raises heads of *lower* d̃; its equations raise heads of *higher* d̃, and that is meant: a head whose output
differs most between source and edit is the one that carries the edit.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

SPREAD_FLOOR = 1e-6
"""Smallest spread of dissimilarities that is stretched to [0, 1]; below it all heads count as alike."""


def dissimilarity(
    source_output: Float[Tensor, "heads tokens channels"], edit_output: Float[Tensor, "heads tokens channels"]
) -> Float[Tensor, "heads"]:
    """Return c_h = 1 − s_h of each head, s_h the cosine of eq. 12; float32, in [0, 2].

    Computed as ½·‖r/‖r‖ − e/‖e‖‖², which is exactly 0 for equal outputs where 1 − cosine would give rounding noise of 4e-6; 0 for
    a head whose output is all zero in either. Inputs of lower precision are taken to float32 first: the rounding of bfloat16
    itself contributes up to about 1e-6, no more than :data:`SPREAD_FLOOR`.

    >>> r = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    >>> dissimilarity(r, r).tolist(), dissimilarity(r, torch.tensor([[[6.0, 8.0]], [[0.0, 2.0]], [[1.0, 0.0]]])).tolist()
    ([0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    """
    source_norm, edit_norm = _norm(source_output)[:, None, None], _norm(edit_output)[:, None, None]
    difference = (source_output / source_norm).sub_(edit_output / edit_norm)
    present = ((source_norm > 0) & (edit_norm > 0)).flatten()
    return torch.where(present, 0.5 * difference.square_().sum(dim=(1, 2)), 0.0)


def _norm(output: Float[Tensor, "heads tokens channels"]) -> Float[Tensor, "heads"]:
    """Return the Euclidean norm of each head, summed in float32 without a copy of ``output``."""
    norm: Tensor = torch.linalg.vector_norm(output, dim=(1, 2), dtype=torch.float32)
    return norm


def normalised(dissimilarities: Float[Tensor, "*layers heads"]) -> Float[Tensor, "*layers heads"]:
    """Return d̃_h of eq. 13–15: dissimilarities stretched to [0, 1] over the heads of a layer.

    >>> normalised(torch.tensor([0.25, 0.5, 0.75])).tolist()
    [0.0, 0.5, 1.0]
    """
    least, most = dissimilarities.amin(-1, keepdim=True), dissimilarities.amax(-1, keepdim=True)
    return (dissimilarities - least) / (most - least).clamp(min=SPREAD_FLOOR)


def head_weights(
    normalised_dissimilarity: Float[Tensor, "*layers heads"],
    gamma: float,
    k: float,
    delta: float,
    form: Literal["literal", "anchored"] = "literal",
) -> Float[Tensor, "*layers heads"]:
    """Return w_h of eq. 16–17.

    ``literal``: w = 1 + γ·sigmoid(k·(d̃ − δ)), above 1 even for equal heads. ``anchored``: w = 1 + γ·[sigmoid(k·(d̃ − δ)) −
    sigmoid(−k·δ)], exactly 1 at d̃ = 0.

    Args:
        normalised_dissimilarity: d̃ in [0, 1].
        gamma: γ ≥ 0, the largest increment.
        k: Steepness.
        delta: δ, the centre.

    >>> [round(w, 4) for w in head_weights(torch.tensor([0.0, 1.0]), 0.2, 10.0, 0.5).tolist()]
    [1.0013, 1.1987]
    """
    rise = torch.sigmoid(k * (normalised_dissimilarity - delta))
    if form == "anchored":
        rise = rise - torch.sigmoid(k * (torch.zeros_like(normalised_dissimilarity) - delta))
    return 1 + gamma * rise


def amplified(
    row: Float[Tensor, "heads tokens channels"],
    gain: Float[Tensor, "heads tokens_or_1 1"],
    edit: Float[Tensor, "heads tokens channels"],
    source: Float[Tensor, "heads tokens channels"] | None = None,
) -> Float[Tensor, "heads tokens channels"]:
    """Returns ``row`` with each head acting more; gain is w − 1 of eq. 16.

    Without ``source`` w·row, eq. 18. With it row + (w − 1)·(e − r): only what the head does otherwise than in the source's branch,
    e and r being both outputs as the kernel made them. In float32, to be rounded once.

    >>> row = torch.tensor([[[2.0]], [[2.0]]])
    >>> amplified(row, torch.tensor([[[0.5]], [[0.0]]]), row, source=torch.tensor([[[1.0]], [[5.0]]])).flatten().tolist()
    [2.5, 2.0]
    """
    return row * (1 + gain) if source is None else row + gain * (edit.float() - source.float())
