"""Refine image tokens without the S×S matrix, arXiv:2411.15034, eq. 19–20.

A[i, j] is the attention probability of text key j for image query i, from the softmax over all keys. Each is multiplied by a weight
ŵ[i, j], and rows are not renormalised, so the output changes by Σ_j (ŵ[i, j] − 1)·A[i, j]·v_j: only the block of image queries
and text keys is needed.

Shape suffixes: H heads, N image tokens, K chosen text keys, S tokens of the joint sequence, D channels of a head.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import TokenLayout

Form = Literal["literal", "centred", "share"]


def token_weights(
    probabilities_HNK: Float[Tensor, "*edits h n k"], alpha: float, nu: float, form: Form
) -> Float[Tensor, "*edits h n k"]:
    """Return ŵ[i, j] of eq. 19, normalised over the N image tokens of each key and head.

    ``literal``: α·sigmoid(ν·softmax_i A[:, j]). The softmax is over values in [0, 1], so it is at most e/N: with the released
    α = 2, ν = 5 and N = 4096 every weight is within 0.2 % of 1. ``centred``: α·sigmoid(ν·(N·softmax_i A[:, j] − 1)). ``share``:
    α·sigmoid(ν·(N·A[i, j]/Σ_k A[k, j] − 1)), which uses the plain share and really varies over the tokens.

    With α = 2 and ν = 0 every weight is exactly 1, in each form.
    """
    return alpha * token_sigmoids(probabilities_HNK, nu, form)


def token_sigmoids(
    probabilities_HNK: Float[Tensor, "*edits h n k"], nu: float, form: Form
) -> Float[Tensor, "*edits h n k"]:
    """Return σ = ŵ/α of :func:`token_weights`, in (0, 1)."""
    tokens = probabilities_HNK.shape[-2]
    if form == "share":
        whole = probabilities_HNK.sum(dim=-2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        share = probabilities_HNK / whole
    else:
        share = probabilities_HNK.softmax(dim=-2)
    if form == "literal":
        return torch.sigmoid(nu * share)
    return torch.sigmoid(torch.rsub(share, -nu, alpha=-nu * tokens))  # ν·(N·share − 1), in one operation


def feature_weights(
    output_HND: Float[Tensor, "*edits h n d"], alpha: float, nu: float, form: Literal["literal", "centred"]
) -> Float[Tensor, "*edits h n d"]:
    """Return the released variant: weights for the *output features* of image tokens, normalised over tokens."""
    share = output_HND.float().softmax(dim=-2)
    return alpha * torch.sigmoid(nu * (share if form == "literal" else output_HND.shape[-2] * share - 1))


def refined_output_reference(
    query_HSD: Float[Tensor, "h s d"],
    key_HSD: Float[Tensor, "h s d"],
    value_HSD: Float[Tensor, "h s d"],
    layout: TokenLayout,
    positions: Sequence[int],
    alpha: float,
    nu: float,
    form: Form,
    scale: float,
    bias: Tensor | None = None,
) -> Float[Tensor, "h s d"]:
    """Return the whole attention output with refined image tokens, by explicit softmax over S×S: the specification.

    ``positions`` are the text keys, counted within the text; ``bias`` is additive, broadcastable to ``[h, s, s]``.
    """
    logits_HSS = query_HSD.float() @ key_HSD.float().transpose(-1, -2) * scale
    weights_HSS = (logits_HSS if bias is None else logits_HSS + bias).softmax(dim=-1)
    keys = torch.as_tensor(positions, device=key_HSD.device) + layout.text.start
    block_HNK = weights_HSS[:, layout.image][..., keys]
    refined_HSS = weights_HSS.clone()
    refined_HSS[:, layout.image, :] = refined_HSS[:, layout.image, :].index_copy(
        -1, keys, token_weights(block_HNK, alpha, nu, form) * block_HNK
    )
    return refined_HSS @ value_HSD.float()
