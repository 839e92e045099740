"""Compute dissimilarity, and steer, in one pass over the outputs each, in native strides. Imports Triton.

The same functions as in :mod:`headrouter.methods.head_router.head_weights` and
:mod:`headrouter.methods.head_router.steering`, which are their specification.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from headrouter.attention.fused_probabilities import block_of
from headrouter.attention.kernels import indices
from headrouter.methods.head_router.head_weights import one_minus_cosine
from headrouter.methods.head_router.steering import Amplification, Extent, Refinement

TOKENS = 64
"""Tokens of one program."""
_FORMS = ("share", "literal", "centred")


def dissimilarity(
    source_output: Float[Tensor, "*#edits heads tokens channels"],
    edit_output: Float[Tensor, "*#edits heads tokens channels"],
    counted: Bool[Tensor, "*#edits tokens"] | None = None,
) -> Float[Tensor, "*edits heads"]:
    """Return 1 − cosine of each head, from three norms that one pass gives."""
    if edit_output.ndim == 3:
        whole = None if counted is None else counted[None]
        return dissimilarity(source_output[None], edit_output[None], whole)[0]
    edits, heads, tokens, channels = torch.broadcast_shapes(source_output.shape, edit_output.shape)
    source, edit = (output.expand(edits, heads, tokens, channels) for output in (source_output, edit_output))
    tiles = triton.cdiv(tokens, TOKENS)
    squares = torch.empty(edits, heads, tiles, 3, dtype=torch.float32, device=edit.device)
    mask = None if counted is None else counted.expand(edits, tokens)
    with torch.cuda.device_of(edit):
        _squares[tiles, heads, edits](
            source,
            edit,
            edit if mask is None else mask,
            squares,
            tokens,
            channels,
            *source.stride(),
            *edit.stride(),
            *((0, 0) if mask is None else mask.stride()),
            COUNTED=mask is not None,
            TOKENS=TOKENS,
            CHANNELS=triton.next_power_of_2(channels),
            num_warps=8,
            enable_fp_fusion=True,
        )
    return one_minus_cosine(*squares.sum(dim=2).unbind(-1))


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
    image_tokens = image.stop - image.start
    change = extent[..., 0].sum(dim=(1, 2)) / (count * heads * image_tokens).clamp(min=1)
    found = torch.stack([change, extent[..., 1].amax(dim=(1, 2)), extent[..., 2].amin(dim=(1, 2))], dim=1)
    if 0 in refinement.keys:
        none = torch.ones_like(found)
        none[:, 0] = 0
        found = torch.where(count[:, None] > 0, found, none)
    return found


def _or(tensor: Tensor | None, other: Tensor, axes: int = 4) -> tuple[Tensor | int, ...]:
    """Return a tensor and its strides; of one that is not there another, which is not read."""
    return (other, *[0] * axes) if tensor is None else (tensor, *tensor.stride())


@triton.jit
def _squares(
    source, edit, counted, squares, tokens, channels,
    source_e, source_h, source_s, source_d, edit_e, edit_h, edit_s, edit_d, counted_e, counted_s,
    COUNTED: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    tile, head, number = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    s, d = tile * TOKENS + tl.arange(0, TOKENS), tl.arange(0, CHANNELS)
    inside = (s[:, None] < tokens) & (d[None, :] < channels)
    if COUNTED:
        inside = (
            inside & (tl.load(counted + number * counted_e + s * counted_s, mask=s < tokens, other=0) != 0)[:, None]
        )
    r = tl.load(
        source + number * source_e + head * source_h + s[:, None] * source_s + d[None, :] * source_d, inside, 0.0
    )
    e = tl.load(edit + number * edit_e + head * edit_h + s[:, None] * edit_s + d[None, :] * edit_d, inside, 0.0)
    r, e = r.to(tl.float32), e.to(tl.float32)
    place = squares + ((number * tl.num_programs(1) + head) * tl.num_programs(0) + tile) * 3
    tl.store(place, tl.sum(tl.sum(r * r, axis=1), axis=0))
    tl.store(place + 1, tl.sum(tl.sum(e * e, axis=1), axis=0))
    tl.store(place + 2, tl.sum(tl.sum((e - r) * (e - r), axis=1), axis=0))


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
            w = alpha / (1 + tl.exp(-nu * share))
            change += tl.sum(tl.sum(tl.where(there, tl.abs(w - 1), 0.0), axis=1), axis=0)
            largest = tl.maximum(largest, tl.max(tl.max(tl.where(there, w, float("-inf")), axis=1), axis=0))
            smallest = tl.minimum(smallest, tl.min(tl.min(tl.where(there, w, float("inf")), axis=1), axis=0))
            texts = value + number * value_e + head * value_h + k[:, None] * value_k + d[None, :] * value_d
            v = tl.load(texts, mask=(k[:, None] < limit) & (d[None, :] < channels), other=0.0)
            added += tl.dot(tl.where(there, (w - 1) * a, 0.0).to(v.dtype), v, input_precision="ieee")
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
