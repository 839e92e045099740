"""Edits to be measured: pictures, masks and texts."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from headrouter.experiments.dataset import Item
from headrouter.experiments.metric import Measured


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn(Item):
    source: Image.Image
    inside: np.ndarray | None = None

    def picture(self):
        return self.source

    def mask(self):
        return self.inside


def smooth(size, seed):
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def edit(size=(96, 96), seed=0, prompt="a [red] dog", mask=True):
    """An edit that changes a region, and the background a little."""
    width, height = size
    source, other = smooth(size, seed), smooth(size, seed + 100)
    inside = np.zeros((height, width), dtype=bool)
    inside[height // 4 : height // 2, width // 4 : width // 2 + 7] = True
    inside[[0, -1]] = True
    inside[:, [0, -1]] = True
    noise = np.random.default_rng(seed).integers(-6, 7, (height, width, 3))
    pixels = np.clip(np.asarray(source).astype(int) + noise, 0, 255).astype(np.uint8)
    pixels[inside] = np.asarray(other)[inside]
    item = Drawn(f"e{seed}", f"p{seed}", seed, "color", "a cat", prompt, source=source, inside=inside if mask else None)
    return Measured(item, source, Image.fromarray(pixels))


def unchanged(measured):
    return replace(measured, edit=measured.source)


def with_mask(measured, inside):
    return replace(measured, item=replace(measured.item, inside=inside))
