"""Measure how the image tokens of a row divide their attention between groups of tokens, without S×S weights.

The softmax runs over all keys. Of the log-sum-exps ℓ_g of the logits within each group, exp(ℓ_g − ℓ) is the share of group g in
the attention of a query, ℓ = log Σ_g exp(ℓ_g). Registers and padding count in ℓ alone.
"""

from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention, TokenLayout

Group = Literal["text", "image", "reference"]
GROUPS: Final[tuple[Group, ...]] = ("text", "image", "reference")


def parts_of(layout: TokenLayout) -> dict[Group, tuple[slice, ...]]:
    """Return the positions of each group: the text, the new picture, all reference pictures."""
    references = tuple(own.tokens for own in layout.references)
    return {"text": (layout.text,), "image": (layout.image,), "reference": references}


def shares(event: JointAttention, place: int) -> Float[Tensor, "groups heads"]:
    """Return the share of :data:`GROUPS` in each head's attention of one row, mean over its image tokens, float32."""
    found = {part.start: _log_sum_exp(event, place, part) for part in event.layout.parts if part.stop > part.start}
    whole = torch.stack([*found.values()]).logsumexp(0)
    groups = [[found[part.start] for part in parts] for parts in parts_of(event.layout).values()]
    return torch.stack([sum((one - whole).exp() for one in own).mean(-1) for own in groups])  # type: ignore[union-attr]


def shares_reference(event: JointAttention, place: int) -> Float[Tensor, "groups heads"]:
    """Return what :func:`shares` returns, from the explicit softmax in float64: the specification."""
    weights = _explicit(event, place)[:, event.layout.image]
    groups = parts_of(event.layout).values()
    return torch.stack([sum(weights[..., part].sum(-1) for part in parts).mean(-1) for parts in groups])  # type: ignore[union-attr]


def attended(
    event: JointAttention, place: int, weights: Float[Tensor, "groups heads"]
) -> Float[Tensor, "heads image_tokens channels"]:
    """Return the output of a row's image tokens where each head's attention to a group is multiplied, and the softmax made anew.

    A′[i, j] = w_g(j)·A[i, j] / Σ_k w_g(k)·A[i, k], which is a bias of log w_g on the logits of group g. A weight of 0 leaves the
    group out.
    """
    image, heads = event.layout.image, slice(0, event.query.shape[1])
    query, key = event.overrides.queries_and_keys(event.query, event.key, place, image)
    bias = _bias(event, weights)
    own = kernels.select_bias(event.bias, place, heads, image, slice(None))
    if own is not None:
        bias = bias.masked_fill(~own, -torch.inf) if own.dtype == torch.bool else bias + own.float()
    value = event.value[place : place + 1]
    return kernels.attend_chunked(query, key, value, event.scale, bias.to(query.dtype))[0]


def attended_reference(
    event: JointAttention, place: int, weights: Float[Tensor, "groups heads"]
) -> Float[Tensor, "heads image_tokens channels"]:
    """Return what :func:`attended` returns, from the explicit softmax in float64: the specification."""
    attention = _explicit(event, place)[:, event.layout.image] * _bias(event, weights)[0].double().exp()
    return attention / attention.sum(-1, keepdim=True) @ event.value[place].double()


def _log_sum_exp(event: JointAttention, place: int, part: slice) -> Float[Tensor, "heads image_tokens"]:
    """Return the log-sum-exp over the keys of one part, of each image query of a row."""
    image, heads = event.layout.image, slice(0, event.query.shape[1])
    query, key = event.overrides.queries_and_keys(event.query, event.key, place, image)
    bias = kernels.select_bias(event.bias, place, heads, image, part)
    return kernels.log_sum_exp_chunked(query, key[:, :, part], event.scale, bias)[0]


def _bias(event: JointAttention, weights: Float[Tensor, "groups heads"]) -> Float[Tensor, "1 heads 1 tokens"]:
    """Return log w_g of each head and key, 0 where a key is of no group."""
    bias = weights.new_zeros(1, event.query.shape[1], 1, event.layout.length, dtype=torch.float32)
    for logarithm, parts in zip(weights.float().log(), parts_of(event.layout).values(), strict=True):
        for part in parts:
            bias[..., part] = logarithm[None, :, None, None]
    return bias


def _explicit(event: JointAttention, place: int) -> Float[Tensor, "heads tokens tokens"]:
    logits = event.query[place].double() @ event.key[place].double().mT * event.scale
    bias = None if event.bias is None else event.bias[place if event.bias.shape[0] > 1 else 0]
    if bias is not None:
        logits = logits.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else logits + bias
    return logits.softmax(-1)
