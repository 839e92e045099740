"""Turn attention into a mask, arXiv:2508.07519, by pure functions."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

KERNEL, SIGMA = 7, 1.0
"""Of the Gaussian: taps on a side, and standard deviation in tokens."""

Edges = Literal["same", "zeros"]
"""What smoothing takes beyond an edge: the edge's own value, so that an even map stays even, or zeros, as released."""


def gaussian_kernel(device: torch.device | str = "cpu") -> Float[Tensor, "7"]:
    """Return the taps on one side, which add up to 1: w_x ∝ exp(−x²/2σ²), x from −3 to 3."""
    x = torch.arange(KERNEL, dtype=torch.float32, device=device) - KERNEL // 2
    weights = torch.exp(-x.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def smoothed(maps: Float[Tensor, "maps rows columns"], edges: Edges = "same") -> Float[Tensor, "maps rows columns"]:
    """Smooth maps by a Gaussian of 7×7 taps, σ 1."""
    kernel, side = gaussian_kernel(maps.device).to(maps.dtype), KERNEL // 2
    mode = "replicate" if edges == "same" else "constant"
    padded = functional.pad(maps[:, None], (side, side, side, side), mode=mode)
    return functional.conv2d(functional.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])[:, 0]


def normalised(
    maps: Float[Tensor, "maps rows columns"], size: tuple[int, int], widen: bool = True
) -> Float[Tensor, "maps latent_rows latent_columns"]:
    """Scale maps to the size of the latents: maximum of 3×3 tokens, nearest upsampling, division by their maximum.

    Without ``widen`` each token stands for itself. A map that is zero everywhere stays so.
    """
    return _enlarged(functional.max_pool2d(maps[:, None], 3, stride=1, padding=1)[:, 0] if widen else maps, size)


def _enlarged(
    maps: Float[Tensor, "maps rows columns"], size: tuple[int, int]
) -> Float[Tensor, "maps latent_rows latent_columns"]:
    upsampled = functional.interpolate(maps[:, None], size=size, mode="nearest")[:, 0]
    return upsampled / upsampled.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def blend_mask(
    maps: Float[Tensor, "maps rows columns"],
    size: tuple[int, int],
    theta: float,
    *,
    widen: bool = True,
    edges: Edges = "same",
) -> Bool[Tensor, "latent_rows latent_columns"]:
    """Return the mask where any of the maps, smoothed and normalised, is above θ."""
    return (normalised(smoothed(maps, edges), size, widen) > theta).any(dim=0)


def departure(
    source_output: Float[Tensor, "heads tokens channels"], edit_output: Float[Tensor, "heads tokens channels"]
) -> Float[Tensor, "tokens"]:
    """Return ‖e − r‖ of each token over all heads and channels, over the largest; 0 where equal.

    >>> r, e = torch.zeros(2, 3, 1), torch.tensor([[[0.0], [3.0], [6.0]], [[0.0], [4.0], [8.0]]])
    >>> departure(r, e).tolist(), departure(e, e).tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.0, 0.0])
    """
    distance = (edit_output.float() - source_output.float()).square().sum(dim=(0, 2)).sqrt()
    return distance / distance.amax().clamp(min=torch.finfo(torch.float32).tiny)


def departure_mask(
    map: Float[Tensor, "rows columns"],  # noqa: A002
    size: tuple[int, int],
    theta: float,
) -> Bool[Tensor, "latent_rows latent_columns"]:
    """Return the mask where a map of departures, over its largest, is above θ: whole tokens, unsmoothed."""
    return _enlarged(map[None], size)[0] > theta
