"""Compute with masks on grids: resampling, growth, smoothing, blending. Pure functions."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Grid = Float[Tensor, "*maps rows columns"]


def resampled(mask: Grid, size: tuple[int, int], soft: bool) -> Grid:
    """Bring a mask to a grid of ``size``, rows and columns.

    To fewer cells: of a soft mask each cell is the mean of what it covers, so that the mean of the whole is kept where sizes
    divide;
    of a hard one a cell is in if any of what it covers is, so that nothing falls out. To more cells: linear between the middles of
    cells, or the nearest cell. Ones stay ones, and zeros zeros.

    >>> resampled(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), (1, 2), soft=True), resampled(torch.eye(2), (1, 1), soft=False)
    (tensor([[0.5000, 0.0000]]), tensor([[1.]]))
    """
    if tuple(mask.shape[-2:]) == size:
        return mask
    maps = mask.reshape(-1, 1, *mask.shape[-2:])
    fewer = min(size[0], maps.shape[-2]), min(size[1], maps.shape[-1])
    pool = functional.adaptive_avg_pool2d if soft else functional.adaptive_max_pool2d
    maps = maps if fewer == tuple(maps.shape[-2:]) else pool(maps, fewer)
    if fewer != size:
        maps = (
            functional.interpolate(maps, size, mode="bilinear", align_corners=False)
            if soft
            else functional.interpolate(maps, size, mode="nearest")
        )
    return maps.reshape(*mask.shape[:-2], *size)


def grown(mask: Grid, by: float) -> Grid:
    """Return the largest value around each place, or the smallest where ``by`` is negative.

    Within a square that reaches ``by`` of the shorter side on each side, at least a cell.

    >>> grown(torch.tensor([[0.0, 0.0, 0.0, 1.0]]), 0.5)
    tensor([[0., 0., 1., 1.]])
    """
    reach = max(1, round(abs(by) * min(mask.shape[-2:])))
    maps, sign = mask.reshape(-1, 1, *mask.shape[-2:]), 1 if by > 0 else -1
    for kernel in ((2 * reach + 1, 1), (1, 2 * reach + 1)):  # a square is a column of rows
        padding = (reach if kernel[0] > 1 else 0, reach if kernel[1] > 1 else 0)
        maps = sign * _wide_max(sign * maps, kernel, padding)
    return maps.reshape(mask.shape)


def _wide_max(maps: Tensor, kernel: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return the maximum within a window that may be larger than the maps."""
    padded = functional.pad(maps, (padding[1], padding[1], padding[0], padding[0]), value=-torch.inf)
    return functional.max_pool2d(padded, kernel, stride=1)


def gaussian(sigma: float, reach: int, device: torch.device | str = "cpu") -> Float[Tensor, "taps"]:
    """Return the taps of a Gaussian, which add up to 1: w_x ∝ exp(−x²/2σ²), x from −reach to reach."""
    x = torch.arange(2 * reach + 1, dtype=torch.float32, device=device) - reach
    weights = torch.exp(-x.square() / (2 * sigma**2))
    return weights / weights.sum()


def convolved(mask: Grid, taps: Float[Tensor, "taps"], *, edges_repeat: bool = True) -> Grid:
    """Convolve with ``taps`` along both axes; beyond an edge stands the edge's value, or 0."""
    maps, side = mask.reshape(-1, 1, *mask.shape[-2:]), len(taps) // 2
    kernel = taps.to(maps)
    padded = functional.pad(maps, (side, side, side, side), mode="replicate" if edges_repeat else "constant")
    found = functional.conv2d(functional.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])
    return found.reshape(mask.shape)


def smoothed(mask: Grid, by: float) -> Grid:
    """Convolve with a Gaussian whose σ is ``by`` of the shorter side, cut off at 3σ; an even mask stays even."""
    sigma = by * min(mask.shape[-2:])
    return convolved(mask, gaussian(sigma, max(1, round(3 * sigma)), mask.device)).clamp(0, 1)


def blended(source: Tensor, edit: Tensor, mask: Tensor) -> Tensor:
    """Return source + M·(edit − source), to the bit the edit where M is 1 and the source where it is 0.

    >>> blended(torch.zeros(3), torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 0.25]))
    tensor([1., 0., 1.])
    """
    share = mask.to(edit.dtype)
    mixed = torch.where(share >= 1, edit, source + share * (edit - source))
    return torch.where(share <= 0, source, mixed)
