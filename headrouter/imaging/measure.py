"""Structural similarity of two pictures, Wang et al., "Image Quality Assessment", IEEE Trans. Image Processing 13(4), 2004."""

from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from headrouter.errors import InvalidInputError

WINDOW: Final = 11
"""Pixels along a side of the Gaussian window."""
DEVIATION: Final = 1.5
"""Standard deviation of the window, in pixels."""


def ssim(first: Image.Image, second: Image.Image) -> float:
    """Mean structural similarity of RGB pictures of one size: 1 if they are equal, about 0 if they are unrelated.

    (2·μ_a·μ_b + C_1)·(2·σ_ab + C_2) / ((μ_a² + μ_b² + C_1)·(σ_a² + σ_b² + C_2)) with C_1 = (0.01·255)², C_2 = (0.03·255)², the
    moments under a Gaussian window of 11×11 pixels and σ = 1.5, in float64. Mean over the places where the whole window fits
    (no padding) and over the three channels.

    Raises:
        InvalidInputError: sizes differ, or a side is shorter than the window.

    >>> picture = Image.new("RGB", (16, 16), "teal")
    >>> ssim(picture, picture)
    1.0
    """
    if first.size != second.size or min(first.size) < WINDOW:
        raise InvalidInputError(
            f"SSIM compares pictures of one size, {WINDOW} pixels or more a side (got {first.size} and {second.size})."
        )
    a, b = _channels(first), _channels(second)
    mean_a, mean_b = _blur(a), _blur(b)
    variances = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return float((luminance * structure).mean())


def _channels(picture: Image.Image) -> Tensor:
    """``[3, 1, height, width]``, 0 to 255."""
    return torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float64)).permute(2, 0, 1)[:, None]


def _blur(channels: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=torch.float64, device="cpu") - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * DEVIATION**2))
    weights = weights / weights.sum()
    rows = functional.conv2d(channels, weights.view(1, 1, 1, -1))
    return functional.conv2d(rows, weights.view(1, 1, -1, 1))
