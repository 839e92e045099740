"""Structural similarity against known answers."""

import math

import numpy as np
import pytest
from PIL import Image

from headrouter.errors import InvalidInputError
from headrouter.imaging.measure import ssim

C1, C2 = 6.5025, 58.5225


def picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def noise(seed: int, height: int = 24, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3))


def test_equal_pictures_are_one() -> None:
    assert ssim(picture(noise(0)), picture(noise(0))) == pytest.approx(1, abs=1e-12)


def test_flat_pictures_differ_in_luminance_alone() -> None:
    """(2ab + C1)/(a² + b² + C1), the mean over three channels."""
    first, second = (100, 50, 200), (120, 50, 10)
    expected = np.mean([(2 * a * b + C1) / (a * a + b * b + C1) for a, b in zip(first, second, strict=True)])
    flat = [Image.new("RGB", (16, 16), color) for color in (first, second)]
    assert ssim(*flat) == pytest.approx(expected, abs=1e-9)


def test_one_window_by_hand() -> None:
    """11×11 pixels have one window: every moment as a plain sum."""
    a, b = noise(1, 11, 11), noise(2, 11, 11)
    weights = np.array(
        [[math.exp(-((row - 5) ** 2 + (column - 5) ** 2) / 4.5) for column in range(11)] for row in range(11)]
    )
    weights /= weights.sum()
    found = []
    for channel in range(3):
        x, y = a[..., channel].astype(float), b[..., channel].astype(float)
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        cov = (weights * (x - mx) * (y - my)).sum()
        found.append((2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2)))
    assert ssim(picture(a), picture(b)) == pytest.approx(np.mean(found), abs=1e-12)


def test_order_of_likeness() -> None:
    """Symmetric; a little noise is nearer than much; a negative is below zero."""
    base = np.linspace(60, 190, 24 * 20 * 3).reshape(24, 20, 3)
    rough = np.random.default_rng(3).normal(size=base.shape)
    little, much = (picture(base + amount * rough) for amount in (3, 20))
    assert 1 > ssim(picture(base), little) > ssim(picture(base), much) > 0
    assert ssim(picture(base), much) == pytest.approx(ssim(much, picture(base)), abs=1e-12)
    assert ssim(picture(noise(4)), picture(255 - noise(4))) < -0.5


def test_what_cannot_be_compared_is_refused() -> None:
    small = Image.new("RGB", (10, 16))
    with pytest.raises(InvalidInputError, match="11 pixels or more"):
        ssim(small, small)
    with pytest.raises(InvalidInputError, match="one size"):
        ssim(Image.new("RGB", (16, 16)), Image.new("RGB", (16, 17)))
