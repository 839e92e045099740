"""Compute weights of heads in one pass over the outputs and one over the heads. Imports Triton.

The same functions as in :mod:`headrouter.methods.head_router.head_weights`, which are their specification.
"""

from typing import Literal

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from headrouter.methods.head_router.head_weights import SPREAD_FLOOR

TOKENS = 64
"""Tokens of one program."""


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
        found = torch.empty(edits, heads, dtype=torch.float32, device=edit.device)
        _cosines[heads, edits](squares, found, tiles, TILES=64)
    return found


def normalised(dissimilarities: Float[Tensor, "*layers heads"]) -> Float[Tensor, "*layers heads"]:
    """Return dissimilarities stretched to [0, 1] over the heads of a layer."""
    values, heads = dissimilarities.contiguous(), dissimilarities.shape[-1]
    found = torch.empty_like(values)
    with torch.cuda.device_of(values):
        _stretch[(values.numel() // heads,)](
            values, found, heads, FLOOR=SPREAD_FLOOR, HEADS=triton.next_power_of_2(heads), num_warps=1
        )
    return found


def head_gains(
    normalised_dissimilarity: Float[Tensor, "*layers heads"],
    gamma: float,
    k: float,
    delta: float,
    form: Literal["literal", "anchored"] = "literal",
) -> Float[Tensor, "*layers heads"]:
    """Return g_h = w_h − 1 of eq. 16–17."""
    values = normalised_dissimilarity.contiguous()
    found = torch.empty_like(values)
    with torch.cuda.device_of(values):
        _gains[(triton.cdiv(values.numel(), 128),)](
            values,
            found,
            values.numel(),
            float(gamma),
            float(k),
            float(delta),
            ANCHORED=form == "anchored",
            VALUES=128,
            num_warps=1,
        )
    return found


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
def _cosines(squares, found, tiles, TILES: tl.constexpr):
    """Add up the squares of a head's tiles, and write its 1 − cosine."""
    head, number = tl.program_id(0), tl.program_id(1).to(tl.int64)
    own = number * tl.num_programs(0) + head
    source, edit, difference = 0.0, 0.0, 0.0
    for start in range(0, tiles, TILES):
        tile = start + tl.arange(0, TILES)
        place, inside = squares + (own * tiles + tile) * 3, tile < tiles
        source += tl.sum(tl.load(place, mask=inside, other=0.0), axis=0)
        edit += tl.sum(tl.load(place + 1, mask=inside, other=0.0), axis=0)
        difference += tl.sum(tl.load(place + 2, mask=inside, other=0.0), axis=0)
    source, edit = tl.sqrt(source), tl.sqrt(edit)
    product, apart = source * edit, edit - source
    spread = tl.maximum(difference - apart * apart, 0.0)
    tl.store(found + own, tl.where(product > 0, spread / tl.where(product > 0, 2 * product, 1.0), 0.0))


@triton.jit
def _stretch(values, found, heads, FLOOR: tl.constexpr, HEADS: tl.constexpr):
    """Stretch one layer's values to [0, 1]."""
    row, h = tl.program_id(0).to(tl.int64), tl.arange(0, HEADS)
    inside, place = h < heads, row * heads + h
    value = tl.load(values + place, mask=inside, other=0.0)
    least = tl.min(tl.where(inside, value, float("inf")), axis=0)
    most = tl.max(tl.where(inside, value, float("-inf")), axis=0)
    tl.store(found + place, (value - least) / tl.maximum(most - least, FLOOR), mask=inside)


@triton.jit
def _gains(values, found, length, gamma, k, delta, ANCHORED: tl.constexpr, VALUES: tl.constexpr):
    """Write γ·sigmoid(k·(d̃ − δ)), less its value at 0 where it is anchored."""
    place = tl.program_id(0) * VALUES + tl.arange(0, VALUES)
    value = tl.load(values + place, mask=place < length, other=0.0)
    rise = 1 / (1 + tl.exp(k * (delta - value.to(tl.float32))))
    if ANCHORED:
        rise -= 1 / (1 + tl.exp(k * delta))
    tl.store(found + place, gamma * rise, mask=place < length)
