"""Attention with its log-sum-exp, and single probabilities from it, without ever holding S×S weights for all heads.

Shape suffixes: B rows, H heads, S tokens of the joint sequence, Q chosen queries, K chosen keys, D channels of a head.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

CHUNK_ELEMENTS = 2**24
"""Largest number of attention logits held at a time by the chunked passes (64 MiB in float32)."""


def attend_with_log_sum_exp(
    query_BHSD: Float[Tensor, "b h s d"],
    key_BHSD: Float[Tensor, "b h s d"],
    value_BHSD: Float[Tensor, "b h s d"],
    scale: float,
    bias: Tensor | None = None,
) -> tuple[Float[Tensor, "b h s d"], Float[Tensor, "b h s"]]:
    """Attention output and the log-sum-exp of each query's logits (float32).

    Where PyTorch's fused kernel gives both, this is one pass, and its output is what ``scaled_dot_product_attention`` computes
    with that kernel. Elsewhere the log-sum-exp comes from a second, chunked pass.
    """
    if bias is None and query_BHSD.shape == key_BHSD.shape == value_BHSD.shape:
        if query_BHSD.device.type == "cpu":
            output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query_BHSD, key_BHSD, value_BHSD, 0.0, False, scale=scale
            )
            return output, log_sum_exp.float()
        if query_BHSD.device.type == "cuda" and _flash_is_possible(query_BHSD, key_BHSD, value_BHSD):
            output, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
                query_BHSD, key_BHSD, value_BHSD, 0.0, False, False, scale=scale
            )
            return output, log_sum_exp[..., : query_BHSD.shape[2]].float()
    output = functional.scaled_dot_product_attention(query_BHSD, key_BHSD, value_BHSD, attn_mask=bias, scale=scale)
    return output, log_sum_exp_chunked(query_BHSD, key_BHSD, scale, bias)


def _flash_is_possible(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether this GPU's flash kernel takes these tensors as they are."""
    parameters = torch.backends.cuda.SDPAParams(query, key, value, None, 0.0, False, False)
    return query.shape[-1] % 8 == 0 and torch.backends.cuda.can_use_flash_attention(parameters)


def log_sum_exp_chunked(
    query_BHSD: Float[Tensor, "b h q d"], key_BHSD: Float[Tensor, "b h s d"], scale: float, bias: Tensor | None = None
) -> Float[Tensor, "b h q"]:
    """Log-sum-exp over the keys of each query's logits, in float32, a chunk of queries at a time."""
    rows, heads, queries, _ = query_BHSD.shape
    step = max(1, CHUNK_ELEMENTS // (rows * heads * key_BHSD.shape[2]))
    chunks = []
    for start in range(0, queries, step):
        chosen = slice(start, start + step)
        chunks.append(_logits(query_BHSD[:, :, chosen], key_BHSD, scale, _slice_queries(bias, chosen)).logsumexp(-1))
    return torch.cat(chunks, dim=-1)


def probabilities(
    query_BHQD: Float[Tensor, "b h q d"],
    key_BHKD: Float[Tensor, "b h k d"],
    log_sum_exp_BHQ: Float[Tensor, "b h q"],
    scale: float,
    bias: Tensor | None = None,
) -> Float[Tensor, "b h q k"]:
    """Attention probabilities of chosen queries and keys, float32: A = exp(q·k·scale + bias − log-sum-exp).

    The log-sum-exp runs over *all* keys of the sequence, so the result is a block of the full softmax, not renormalised.
    """
    return (_logits(query_BHQD, key_BHKD, scale, bias) - log_sum_exp_BHQ[..., None]).exp()


def _logits(query: Tensor, key: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    logits = (query.float() @ key.float().transpose(-1, -2)) * scale
    if bias is None:
        return logits
    return logits.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else logits + bias.float()


def _slice_queries(bias: Tensor | None, chosen: slice) -> Tensor | None:
    return bias if bias is None or bias.shape[-2] == 1 else bias[..., chosen, :]


def select_bias(
    bias: Tensor | None, row: int, heads: slice, queries: slice | Tensor, keys: slice | Tensor
) -> Tensor | None:
    """The part of a mask or bias ``[B or 1, H or 1, S or 1, S or 1]`` for one row, chosen heads, queries and keys."""
    if bias is None:
        return None
    chosen = bias[:1] if bias.shape[0] == 1 else bias[row : row + 1]
    chosen = chosen if chosen.shape[1] == 1 else chosen[:, heads]
    chosen = chosen if chosen.shape[-2] == 1 else chosen[..., queries, :]
    return chosen if chosen.shape[-1] == 1 else chosen[..., keys]
