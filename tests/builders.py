"""Build what several tests share."""

from pathlib import Path

import numpy as np
from headrouter_diffusers.testing import tiny_sd35
from PIL import Image

PICTURE = Image.fromarray((np.random.default_rng(0).random((32, 48, 3)) * 255).astype(np.uint8))
"""Noise, 48 pixels wide and 32 high."""


def photo_in(folder: Path) -> Path:
    """Save the picture in a folder."""
    PICTURE.save(folder / "photo.png")
    return folder / "photo.png"


def sd35_in(folder: Path) -> Path:
    """Save a tiny pipeline of SD3.5 in a folder."""
    tiny_sd35().save_pretrained(folder / "sd3.5")
    return folder / "sd3.5"
