"""Steer in one pass over the outputs, in native strides. Imports Triton.

The same function as in :mod:`headrouter.methods.head_router.steering`, which is its specification.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.fused_probabilities import block_of
from headrouter.attention.kernels import indices
from headrouter.methods.head_router.steering import Amplification, Extent, Refinement

TOKENS = 64
"""Tokens of one program."""
PARTS = 256
"""Programs whose extents are joined at a time."""
_FORMS = ("share", "literal", "centred")


def steer_(
    edit_EHSD: Float[Tensor, "e h s d"],
    image: slice,
    amplification: Amplification | None,
    refinement: Refinement | None,
) -> Extent | None:
    """Write e + g·(e − r) + Δ, or w·(e + Δ), over e; return how far ŵ goes."""
    edits, heads, _, channels = edit_EHSD.shape
    tokens = image if amplification is None else amplification.tokens
    tiles = triton.cdiv(tokens.stop - tokens.start, TOKENS)
    source = gain = reach = None
    if amplification is not None:
        gain, reach = amplification.gain.expand(edits, heads), amplification.reach
        source = None if amplification.source is None else amplification.source.expand_as(edit_EHSD)
    block = value = whole = count = None
    if refinement is not None:
        block, value, count = (
            refinement.probabilities,
            refinement.value,
            indices(tuple(refinement.keys), edit_EHSD.device),
        )
        whole = (block if refinement.form == "share" else block.exp()).sum(dim=-2)
    keys = 0 if block is None else block.shape[-1]
    extent = torch.empty(edits, heads, tiles, 3, dtype=torch.float32, device=edit_EHSD.device)
    with torch.cuda.device_of(edit_EHSD):
        _steer[tiles, heads, edits](
            edit_EHSD,
            *_or(source, edit_EHSD),
            *_or(gain, extent, 2),
            *_or(reach, extent, 2),
            *_or(block, extent, 4),
            *_or(whole, extent, 3),
            *_or(value, edit_EHSD),
            edit_EHSD if count is None else count,
            extent,
            *edit_EHSD.stride(),
            tokens.start,
            tokens.stop,
            image.start,
            image.stop,
            keys,
            channels,
            0.0 if refinement is None else refinement.alpha,
            0.0 if refinement is None else refinement.nu,
            AMPLIFIES=gain is not None,
            DIFFERENCE=source is not None,
            REACH=reach is not None,
            REFINES=block is not None,
            FORM=0 if refinement is None else _FORMS.index(refinement.form),
            TOKENS=TOKENS,
            KEYS=block_of(keys),
            CHANNELS=max(16, triton.next_power_of_2(channels)),
            num_warps=8,
            enable_fp_fusion=True,
        )
    if refinement is None or count is None:
        return None
    found = torch.empty(edits, 3, dtype=torch.float32, device=edit_EHSD.device)
    with torch.cuda.device_of(edit_EHSD):
        _reach[(edits,)](extent, count, found, heads * tiles, PARTS=PARTS)
    return found


def _or(tensor: Tensor | None, other: Tensor, axes: int = 4) -> tuple[Tensor | int, ...]:
    """Return a tensor and its strides; of one that is not there another, which is not read."""
    return (other, *[0] * axes) if tensor is None else (tensor, *tensor.stride())


@triton.jit
def _steer(
    edit, source, source_e, source_h, source_s, source_d, gain, gain_e, gain_h, reach, reach_e, reach_n,
    block, block_e, block_h, block_n, block_k, whole, whole_e, whole_h, whole_k,
    value, value_e, value_h, value_k, value_d, count, extent, edit_e, edit_h, edit_s, edit_d,
    first, last, image_first, image_last, keys, channels, alpha, nu,
    AMPLIFIES: tl.constexpr, DIFFERENCE: tl.constexpr, REACH: tl.constexpr, REFINES: tl.constexpr, FORM: tl.constexpr,
    TOKENS: tl.constexpr, KEYS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    tile, head, number = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    s, d = first + tile * TOKENS + tl.arange(0, TOKENS), tl.arange(0, CHANNELS)
    inside = (s[:, None] < last) & (d[None, :] < channels)
    pictured = (s >= image_first) & (s < image_last)
    n = tl.where(pictured, s - image_first, 0)
    place = edit + number * edit_e + head * edit_h + s[:, None] * edit_s + d[None, :] * edit_d
    own = tl.load(place, mask=inside, other=0.0)
    e = own.to(tl.float32)
    added = tl.zeros([TOKENS, CHANNELS], dtype=tl.float32)
    if REFINES:
        limit = tl.load(count + number)
        change, largest, smallest = 0.0, float("-inf"), float("inf")
        for start in range(0, keys, KEYS):
            k = start + tl.arange(0, KEYS)
            there = pictured[:, None] & (k[None, :] < limit)
            where = block + number * block_e + head * block_h + n[:, None] * block_n + k[None, :] * block_k
            a = tl.load(where, mask=there, other=0.0)
            total = tl.load(whole + number * whole_e + head * whole_h + k * whole_k, mask=k < limit, other=1.0)
            share = a / tl.maximum(total, 1.1754943508222875e-38)[None, :] if FORM == 0 else tl.exp(a) / total[None, :]
            if FORM != 1:
                share = (image_last - image_first) * share - 1
            sigmoid = 1 / (1 + tl.exp(-nu * share))
            excess = alpha * sigmoid - 1
            change += tl.sum(tl.sum(tl.where(there, tl.abs(excess), 0.0), axis=1), axis=0)
            largest = tl.maximum(largest, tl.max(tl.max(tl.where(there, sigmoid, float("-inf")), axis=1), axis=0))
            smallest = tl.minimum(smallest, tl.min(tl.min(tl.where(there, sigmoid, float("inf")), axis=1), axis=0))
            texts = value + number * value_e + head * value_h + k[:, None] * value_k + d[None, :] * value_d
            v = tl.load(texts, mask=(k[:, None] < limit) & (d[None, :] < channels), other=0.0)
            added += tl.dot(tl.where(there, excess * a, 0.0).to(v.dtype), v, input_precision="ieee")
        report = extent + ((number * tl.num_programs(1) + head) * tl.num_programs(0) + tile) * 3
        tl.store(report, change)
        tl.store(report + 1, largest)
        tl.store(report + 2, smallest)
    if AMPLIFIES:
        g = tl.load(gain + number * gain_e + head * gain_h).to(tl.float32)
        if REACH:
            g = (g * tl.load(reach + number * reach_e + n * reach_n, mask=pictured, other=0.0))[:, None]
        if DIFFERENCE:
            other = source + number * source_e + head * source_h + s[:, None] * source_s + d[None, :] * source_d
            e = e + g * (e - tl.load(other, mask=inside, other=0.0).to(tl.float32)) + added
        else:
            e = (1 + g) * (e + added)
    else:
        e = e + added
    tl.store(place, e.to(own.dtype), mask=inside)


@triton.jit
def _reach(extent, count, found, programs, PARTS: tl.constexpr):
    """Join what the programs of an edit say of how far its weights go."""
    number = tl.program_id(0).to(tl.int64)
    keys = tl.load(count + number)
    change, largest, smallest = 0.0, float("-inf"), float("inf")
    for start in range(0, programs, PARTS):
        part = start + tl.arange(0, PARTS)
        place, inside = extent + (number * programs + part) * 3, part < programs
        change += tl.sum(tl.load(place, mask=inside, other=0.0), axis=0)
        largest = tl.maximum(largest, tl.max(tl.load(place + 1, mask=inside, other=float("-inf")), axis=0))
        smallest = tl.minimum(smallest, tl.min(tl.load(place + 2, mask=inside, other=float("inf")), axis=0))
    some = keys > 0
    tl.store(found + number * 3, tl.where(some, change, 0.0))
    tl.store(found + number * 3 + 1, tl.where(some, largest, 1.0))
    tl.store(found + number * 3 + 2, tl.where(some, smallest, 1.0))
