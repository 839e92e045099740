"""Measure the structural similarity of two pictures (SSIM). Image Processing 13(4), 2004."""

from typing import Final

import numpy as np
from PIL import Image

from headrouter.errors import InvalidInputError

WINDOW: Final = 11
"""Pixels along a side of the Gaussian window."""
DEVIATION: Final = 1.5
"""Standard deviation of the window, in pixels."""


def ssim(first: Image.Image, second: Image.Image) -> float:
    """Return the mean structural similarity of RGB pictures: 1 if they are equal, about 0 if unrelated.

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
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            *(np.asarray(picture.convert("RGB")) for picture in (first, second)),
            win_size=WINDOW,
            gaussian_weights=True,
            sigma=DEVIATION,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1,
        )
    )
