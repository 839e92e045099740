"""Compute the weights of the instance-adaptive head router, arXiv:2411.15034, eq. 12–18, as pure functions.

The prose of the paper raises heads of *lower* d̃; its equations raise heads of *higher* d̃, and that is meant: a head whose output
differs most between source and edit is the one that carries the edit.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headrouter.attention.fused import fused

SPREAD_FLOOR = 1e-6
"""Smallest spread of dissimilarities that is stretched to [0, 1]; below it all heads count as alike."""


@fused("headrouter.methods.head_router.fused.weights:dissimilarity")
def dissimilarity(
    source_output: Float[Tensor, "*#edits heads tokens channels"],
    edit_output: Float[Tensor, "*#edits heads tokens channels"],
    counted: Bool[Tensor, "*#edits tokens"] | None = None,
) -> Float[Tensor, "*edits heads"]:
    """Return c_h = 1 − s_h of each head, s_h the cosine of eq. 12; float32, in [0, 2].

    Computed from three norms as (‖e − r‖² − (‖e‖ − ‖r‖)²) / (2·‖e‖·‖r‖), which is exactly 0 for equal outputs where 1 − cosine
    would give rounding noise of 4e-6; 0 for a head whose output is all zero in either. Norms are summed in float32, the difference
    is made in the outputs' precision: the rounding of bfloat16 contributes up to about 1e-6, no more than :data:`SPREAD_FLOOR`, as
    long as both norms are of one order, as they are of one head in two rows.

    Args:
        source_output, edit_output: r and e; one source serves several edits.
        counted: Tokens that enter; all if not given.

    >>> r = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    >>> dissimilarity(r, r).tolist(), dissimilarity(r, torch.tensor([[[6.0, 8.0]], [[0.0, 2.0]], [[1.0, 0.0]]])).tolist()
    ([0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    """
    difference = edit_output - source_output
    if counted is not None or source_output.shape[1:] != edit_output.shape[1:]:
        source_output, edit_output = source_output.expand_as(difference), edit_output.expand_as(difference)
    return one_minus_cosine(*_norms((source_output, edit_output, difference), counted))


def one_minus_cosine(
    source: Float[Tensor, "*#edits heads"],
    edit: Float[Tensor, "*edits heads"],
    difference: Float[Tensor, "*edits heads"],
) -> Float[Tensor, "*edits heads"]:
    """Return 1 − cosine of r and e from ‖r‖, ‖e‖ and ‖e − r‖; 0 where r or e is."""
    product, longer = source * edit, edit - source
    spread = torch.addcmul(difference.square(), longer, longer, value=-1)
    return torch.where(product > 0, spread.clamp(min=0) / (2 * product), product)


def dissimilarity_reference(
    source_output: Float[Tensor, "heads tokens channels"], edit_output: Float[Tensor, "heads tokens channels"]
) -> Float[Tensor, "heads"]:
    """Return c_h as ½·‖r/‖r‖ − e/‖e‖‖² in float64: the specification."""
    source, edit = source_output.double().flatten(1), edit_output.double().flatten(1)
    source_norm, edit_norm = source.norm(dim=1, keepdim=True), edit.norm(dim=1, keepdim=True)
    present = ((source_norm > 0) & (edit_norm > 0)).flatten()
    return torch.where(present, 0.5 * (source / source_norm - edit / edit_norm).square().sum(dim=1), 0.0)


def _norms(outputs: Sequence[Tensor], counted: Bool[Tensor, "*#edits tokens"] | None) -> tuple[Tensor, ...]:
    """Return ‖output‖ of each head over the tokens that are counted, summed in float32, of several outputs at once.

    Args:
        outputs: ``[*edits, heads, tokens, channels]`` each, with as many edits as there are where tokens are counted.
    """
    lengths = [len(output) for output in outputs]
    by_token = outputs[0].new_empty(sum(lengths), *outputs[0].shape[1:-1], dtype=torch.float32)
    for output, own in zip(outputs, torch.split(by_token, lengths), strict=True):
        torch.linalg.vector_norm(output, dim=-1, dtype=torch.float32, out=own)
    if counted is not None:
        by_token.view(len(outputs), -1, *by_token.shape[1:]).mul_(counted[..., None, :])
    return torch.split(torch.linalg.vector_norm(by_token, dim=-1), lengths)


@fused("headrouter.methods.head_router.fused.weights:normalised")
def normalised(dissimilarities: Float[Tensor, "*layers heads"]) -> Float[Tensor, "*layers heads"]:
    """Return d̃_h of eq. 13–15: dissimilarities stretched to [0, 1] over the heads of a layer.

    >>> normalised(torch.tensor([0.25, 0.5, 0.75])).tolist()
    [0.0, 0.5, 1.0]
    """
    least, most = dissimilarities.aminmax(dim=-1, keepdim=True)
    return (dissimilarities - least) / (most - least).clamp(min=SPREAD_FLOOR)


def head_weights(
    normalised_dissimilarity: Float[Tensor, "*layers heads"],
    gamma: float,
    k: float,
    delta: float,
    form: Literal["literal", "anchored"] = "literal",
) -> Float[Tensor, "*layers heads"]:
    """Return w_h of eq. 16–17, 1 + :func:`head_gains`.

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
    return 1 + head_gains(normalised_dissimilarity, gamma, k, delta, form)


@fused("headrouter.methods.head_router.fused.weights:head_gains")
def head_gains(
    normalised_dissimilarity: Float[Tensor, "*layers heads"],
    gamma: float,
    k: float,
    delta: float,
    form: Literal["literal", "anchored"] = "literal",
) -> Float[Tensor, "*layers heads"]:
    """Return g_h = w_h − 1, by how much more each head acts; see :func:`head_weights`."""
    rise = torch.sigmoid(torch.rsub(normalised_dissimilarity, -k * delta, alpha=-k))  # k·(d̃ − δ), in one operation
    if form == "anchored":
        rise = rise - torch.sigmoid(torch.full_like(rise, -k * delta))
    return gamma * rise
