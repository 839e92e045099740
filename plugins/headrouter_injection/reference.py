"""Specify attention with replaced parts, as the references that tests compare with. They hold S×S logits of all heads."""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import TokenLayout
from headrouter_injection.parts import PROJECTIONS, REGIONS, Name, positions


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


def injected_attention_reference(
    edit: Sequence[Float[Tensor, "heads tokens channels"]],
    source: Sequence[Float[Tensor, "heads tokens channels"]],
    layout: TokenLayout,
    replace: Sequence[Name],
    heads: Collection[int],
    scale: float,
) -> Float[Tensor, "heads tokens channels"]:
    """Return attention of the edit, head by head, with parts of some heads taken from the source.

    Args:
        edit, source: Query, key and value of each.
        layout: Positions of text and image.
        replace: Names of projections.
        heads: Heads that take from the source.
        scale: Factor of the logits.
    """
    outputs = []
    for head in range(len(edit[0])):
        own = {name: tensor[head].clone() for name, tensor in zip(_TENSORS, edit, strict=True)}
        others = {name: tensor[head] for name, tensor in zip(_TENSORS, source, strict=True)}
        for name, tokens in (part for one in replace if head in heads for part in PROJECTIONS[one]):
            own[name][positions(layout, tokens)] = others[name][positions(layout, tokens)]
        outputs.append(torch.softmax(own["query"] @ own["key"].T * scale, dim=-1) @ own["value"])
    return torch.stack(outputs)


_TENSORS = ("query", "key", "value")
