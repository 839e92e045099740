"""Compute attention with its log-sum-exp, and chosen probabilities, without S×S weights for all heads.

Shape suffixes: B rows, H heads, S tokens of the joint sequence, Q chosen queries, K chosen keys, D channels of a head.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend

from headrouter import compat
from headrouter.attention.fused import fused

CHUNK_ELEMENTS = 2**24
"""Largest number of attention logits held at a time by the chunked passes (64 MiB in float32)."""


Attended = tuple[Float[Tensor, "b h s d"], Float[Tensor, "b h s"] | None]
"""Output, and the log-sum-exp of each query's logits if the kernel gives it."""


def attend_with_log_sum_exp(
    query_BHSD: Float[Tensor, "b h s d"],
    key_BHSD: Float[Tensor, "b h s d"],
    value_BHSD: Float[Tensor, "b h s d"],
    scale: float,
    bias: Tensor | None = None,
) -> Attended:
    """Return the attention output and, where the kernel gives it, the log-sum-exp of each query's logits (float32).

    The kernel is the one that ``scaled_dot_product_attention`` chooses for these tensors. Where it gives both it is called by
    its own name, and its output is that of plain attention.
    """
    known = query_BHSD.device.type in _DEVICES
    if known and bias is None and query_BHSD.shape == key_BHSD.shape == value_BHSD.shape:
        choice = compat.chosen_kernel(query_BHSD, key_BHSD, value_BHSD, scale)
        padded = query_BHSD.device.type == "cuda" and query_BHSD.shape[-1] % 8 != 0  # by PyTorch, before the kernel
        kernel = None if padded else fused_kernel(query_BHSD.device.type, choice)
        if kernel is not None:
            output, log_sum_exp = kernel(query_BHSD, key_BHSD, value_BHSD, scale)
            rows, heads, tokens, _ = query_BHSD.shape
            return output, log_sum_exp.reshape(rows, heads, -1).narrow(-1, 0, tokens).float()  # some kernels pad
    output = functional.scaled_dot_product_attention(query_BHSD, key_BHSD, value_BHSD, attn_mask=bias, scale=scale)
    return output, None


def share_memory(output: Tensor, *others: Tensor) -> bool:
    """Return whether a tensor may lie in the memory of another. Tensors of other classes do not say where they lie."""
    if any(type(tensor) is not Tensor for tensor in (output, *others)):
        return True
    return any(output.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() for other in others)


def attention_is_replaced() -> bool:
    """Return whether another kernel is in the place of PyTorch's ``scaled_dot_product_attention``."""
    return functional.scaled_dot_product_attention is not compat.PRODUCT_ATTENTION


Kernel = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""Attention of query, key and value with a scale: output and log-sum-exp."""


def fused_kernel(device: str, choice: int) -> Kernel | None:
    """Return the fused kernel of a :class:`torch.nn.attention.SDPBackend` on a device, if it gives the log-sum-exp."""
    return _FUSED.get((device, choice))


_FUSED: dict[tuple[str, int], Kernel] = {
    ("cpu", int(SDPBackend.FLASH_ATTENTION.value)): compat.flash_on_cpu,
    ("cuda", int(SDPBackend.FLASH_ATTENTION.value)): compat.flash,
    ("cuda", int(SDPBackend.EFFICIENT_ATTENTION.value)): compat.efficient,
    ("cuda", int(SDPBackend.CUDNN_ATTENTION.value)): compat.cudnn,
}
_DEVICES = {device for device, _ in _FUSED}
"""Types of devices that are asked which kernel they would choose; others, such as MPS, may not be able to say."""


def log_sum_exp_chunked(
    query_BHSD: Float[Tensor, "b h q d"], key_BHSD: Float[Tensor, "b h s d"], scale: float, bias: Tensor | None = None
) -> Float[Tensor, "b h q"]:
    """Compute the log-sum-exp over the keys of each query's logits, float32, by chunks of queries."""
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
    """Return attention probabilities of chosen queries and keys, float32: A = exp(q·k·scale + bias − log-sum-exp).

    The log-sum-exp runs over *all* keys of the sequence, so the result is a block of the full softmax, not renormalised.
    """
    if bias is None:
        return unbiased_probabilities(query_BHQD, key_BHKD, log_sum_exp_BHQ, scale)
    return _logits(query_BHQD, key_BHKD, scale, bias).sub_(log_sum_exp_BHQ[..., None]).exp_()


@fused("headrouter.attention.fused_probabilities:unbiased_probabilities")
def unbiased_probabilities(
    query_BHQD: Float[Tensor, "b h q d"],
    key_BHKD: Float[Tensor, "b h k d"],
    log_sum_exp_BHQ: Float[Tensor, "b h q"],
    scale: float,
) -> Float[Tensor, "b h q k"]:
    """Return the probabilities of :func:`probabilities` where there is no bias, on a GPU by a fused kernel."""
    return _logits(query_BHQD, key_BHKD, scale, None).sub_(log_sum_exp_BHQ[..., None]).exp_()


def attend_chunked(
    query_BHQE: Float[Tensor, "b h q e"],
    key_BHSE: Float[Tensor, "b h s e"],
    value_BHSD: Float[Tensor, "b h s d"],
    scale: float,
    bias: Tensor | None = None,
) -> Float[Tensor, "b h q d"]:
    """Attend with values of fewer channels than the keys, a few heads and queries at a time.

    Values are padded to the channels of the keys, which fused kernels want; and where there is no fused kernel, what PyTorch
    then holds stays within :data:`CHUNK_ELEMENTS` logits (or those of one query).
    """
    rows, heads, queries, channels = query_BHQE.shape
    value_BHSE = functional.pad(value_BHSD, (0, channels - value_BHSD.shape[-1]))
    most = max(1, CHUNK_ELEMENTS // (rows * key_BHSE.shape[2]))  # pairs of a head and a query at a time
    some_queries = min(most, queries)
    some_heads = max(1, most // queries)
    output = torch.empty_like(query_BHQE)
    for head in range(0, heads, some_heads):
        for start in range(0, queries, some_queries):
            h, q = slice(head, head + some_heads), slice(start, start + some_queries)
            mask = _slice_queries(bias if bias is None or bias.shape[1] == 1 else bias[:, h], q)
            output[:, h, q] = functional.scaled_dot_product_attention(
                query_BHQE[:, h, q], key_BHSE[:, h], value_BHSE[:, h], attn_mask=mask, scale=scale
            )
    return output[..., : value_BHSD.shape[-1]]


def _logits(query: Tensor, key: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    logits = _products(query, key).mul_(scale)
    if bias is None:
        return logits
    return logits.masked_fill_(~bias, -torch.inf) if bias.dtype == torch.bool else logits.add_(bias.float())


def _products(query: Float[Tensor, "b h q d"], key: Float[Tensor, "b h k d"]) -> Float[Tensor, "b h q k"]:
    """Return the products of queries and keys in float32; a GPU makes them from 16 bits without a copy in 32."""
    if query.device.type == "cuda" and query.dtype in {torch.float16, torch.bfloat16}:
        rows = [torch.bmm(*pair, out_dtype=torch.float32) for pair in zip(query, key.mT, strict=True)]
        return rows[0][None] if len(rows) == 1 else torch.stack(rows)
    return query.float() @ key.float().mT


def _slice_queries(bias: Tensor | None, chosen: slice) -> Tensor | None:
    return bias if bias is None or bias.shape[-2] == 1 else bias[..., chosen, :]


def select_bias(
    bias: Tensor | None, row: int, heads: slice | Tensor, queries: slice | Tensor, keys: slice | Tensor
) -> Tensor | None:
    """Return the part of a mask or bias for one row, chosen heads, queries and keys."""
    if bias is None:
        return None
    chosen = bias[:1] if bias.shape[0] == 1 else bias[row : row + 1]
    chosen = chosen if chosen.shape[1] == 1 else chosen[:, heads]
    chosen = chosen if chosen.shape[-2] == 1 else chosen[..., queries, :]
    return chosen if chosen.shape[-1] == 1 else chosen[..., keys]


def taking(positions: tuple[int, ...], device: torch.device) -> slice | Int[Tensor, "positions"]:
    """Return what takes positions of an axis: where they follow each other a slice, which copies nothing.

    >>> taking((2, 3, 4), torch.device("cpu")), taking((2, 4), torch.device("cpu"))
    (slice(2, 5, None), tensor([2, 4]))
    """
    if positions and positions == tuple(range(positions[0], positions[0] + len(positions))):
        return slice(positions[0], positions[0] + len(positions))
    return indices(positions, device)


@lru_cache(maxsize=64)
def indices(positions: tuple[int, ...], device: torch.device) -> Int[Tensor, "positions"]:
    """Return positions as a tensor on ``device``, made once: copying numbers to an accelerator waits for its running work.

    >>> indices((2, 5), torch.device("cpu")).tolist()
    [2, 5]
    """
    with torch.inference_mode(False):
        return torch.tensor(positions, dtype=torch.long, device=device)
