"""Compute probabilities of chosen queries and keys in one pass over the queries, in native strides. Imports Triton."""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

QUERIES = 64
"""Queries of one program."""


def unbiased_probabilities(
    query_BHQD: Float[Tensor, "b h q d"],
    key_BHKD: Float[Tensor, "b h k d"],
    log_sum_exp_BHQ: Float[Tensor, "b h q"],
    scale: float,
) -> Float[Tensor, "b h q k"]:
    """Return exp(q·k·scale − log-sum-exp), float32; see :func:`headrouter.attention.kernels.probabilities`."""
    rows, heads, queries, channels = query_BHQD.shape
    keys = key_BHKD.shape[2]
    found = torch.empty(rows, heads, queries, keys, dtype=torch.float32, device=query_BHQD.device)
    if not found.numel():
        return found
    with torch.cuda.device_of(query_BHQD):
        _probabilities[triton.cdiv(queries, QUERIES), heads, rows](
            query_BHQD,
            key_BHKD,
            log_sum_exp_BHQ,
            found,
            scale,
            queries,
            keys,
            channels,
            *query_BHQD.stride(),
            *key_BHKD.stride(),
            *log_sum_exp_BHQ.stride(),
            *found.stride()[:3],
            QUERIES=QUERIES,
            KEYS=block_of(keys),
            CHANNELS=max(16, triton.next_power_of_2(channels)),
            num_warps=4,
            enable_fp_fusion=True,
        )
    return found


def block_of(keys: int) -> int:
    """Return how many keys are taken at a time: a power of two that a matrix product can have."""
    return int(min(64, max(16, triton.next_power_of_2(keys))))


@triton.jit
def _probabilities(
    query, key, log_sum_exp, found, scale, queries, keys, channels,
    query_b, query_h, query_q, query_d, key_b, key_h, key_k, key_d, sum_b, sum_h, sum_q, found_b, found_h, found_q,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    head, row = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    q, d = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES), tl.arange(0, CHANNELS)
    own = query + row * query_b + head * query_h + q[:, None] * query_q + d[None, :] * query_d
    query_QD = tl.load(own, mask=(q[:, None] < queries) & (d[None, :] < channels), other=0.0)
    sum_Q = tl.load(log_sum_exp + row * sum_b + head * sum_h + q * sum_q, mask=q < queries, other=0.0)
    for start in range(0, keys, KEYS):
        k = start + tl.arange(0, KEYS)
        others = key + row * key_b + head * key_h + k[None, :] * key_k + d[:, None] * key_d
        key_DK = tl.load(others, mask=(k[None, :] < keys) & (d[:, None] < channels), other=0.0)
        logits_QK = tl.dot(query_QD, key_DK, input_precision="ieee") * scale
        place = found + row * found_b + head * found_h + q[:, None] * found_q + k[None, :]
        tl.store(place, tl.exp(logits_QK - sum_Q[:, None]), mask=(q[:, None] < queries) & (k[None, :] < keys))
