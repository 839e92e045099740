"""Specify attention with replaced logits, as the reference that tests compare with. It holds S×S logits of all heads."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import TokenLayout
from headrouter_injection.parts import REGIONS, Name


def replaced_attention_reference(
    query: Float[Tensor, "heads tokens channels"],
    key: Float[Tensor, "heads tokens channels"],
    value: Float[Tensor, "heads tokens channels"],
    source_query: Float[Tensor, "heads tokens channels"],
    source_key: Float[Tensor, "heads tokens channels"],
    layout: TokenLayout,
    regions: Sequence[Name],
    scale: float,
    bias: Float[Tensor, "*heads tokens tokens"] | None = None,
) -> Float[Tensor, "heads tokens channels"]:
    """Return softmax_k(L + bias)·v, with L = scale·q·k, and scale·q_r·k_r of the source r in the regions.

    Args:
        query, key, value: Of the edit.
        source_query, source_key: Of the source.
        regions: Names among I2I, T2I, I2T and T2T.
        scale: Factor of the logits.
        bias: The edit's additive mask.
    """
    logits, source = (q @ k.transpose(-1, -2) * scale for q, k in ((query, key), (source_query, source_key)))
    for region in regions:
        queries, keys = (getattr(layout, part) for part in REGIONS[region])
        logits[:, queries, keys] = source[:, queries, keys]
    return torch.softmax(logits if bias is None else logits + bias, dim=-1) @ value
