"""Render a scene to pixels.

A picture is a mixture of three colours, ``picture = background · (1 − cover) + colour · body + pen · ink``. The weight
maps depend only on what is drawn where (:mod:`headrouter_shapes.world.drawing`); the colours come last. The oracle uses the
same two halves, so what it compares with is the renderer itself.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from headrouter.errors import InvalidInputError
from headrouter_shapes.world.drawing import Array, layers
from headrouter_shapes.world.scene import Scene, variation_of
from headrouter_shapes.world.vocabulary import BACKGROUND_COLOURS, INK_COLOURS, OBJECT_COLOURS

CAP: Final = 99.0
"""PSNR of equal pictures, dB, so that means of it exist."""


def render_array(scenes: Sequence[Scene]) -> npt.NDArray[np.uint8]:
    """Draw scenes, the same bytes every time: uint8 [B, 64, 64, 3], sRGB."""
    variations = [variation_of(scene) for scene in scenes]
    drawn = layers(scenes, variations)
    colour = np.array([OBJECT_COLOURS[scene.colour] for scene in scenes], dtype=np.float32)
    background = np.array([BACKGROUND_COLOURS[scene.background] for scene in scenes], dtype=np.float32)
    ink = np.array([INK_COLOURS[scene.background] for scene in scenes], dtype=np.float32)
    colour += np.array([[variation.shade] for variation in variations], dtype=np.float32)
    background += np.array([[variation.paper] for variation in variations], dtype=np.float32)
    picture = (
        np.clip(background, 0, 255)[:, None, None, :] * (1.0 - drawn.cover)[..., None]
        + np.clip(colour, 0, 255)[:, None, None, :] * drawn.body[..., None]
        + ink[:, None, None, :] * drawn.ink[..., None]
    )
    pictures: npt.NDArray[np.uint8] = np.round(np.clip(picture, 0.0, 255.0)).astype(np.uint8)
    return pictures


def render(scene: Scene) -> Image.Image:
    """Draw one scene: an RGB picture of 64×64 pixels, anti-aliased, the same bytes every time."""
    return Image.fromarray(render_array([scene])[0])


def mask(scene: Scene) -> Array:
    """Return the area of the scene's objects, the inside of an outline included: float32 [64, 64] in [0, 1]."""
    area: Array = layers([scene]).silhouette[0]
    return area


def changed_region(source: Scene, target: Scene, margin: int = 1, threshold: int = 8) -> npt.NDArray[np.bool_]:
    """Return where two renderings differ: bool [64, 64].

    Args:
        source: the scene before the edit.
        target: the scene after it.
        margin: pixels by which the region grows in each direction.
        threshold: difference of a channel, of 255, up to which a pixel counts as unchanged.

    Raises:
        InvalidInputError: a negative ``margin``.
    """
    if margin < 0:
        raise InvalidInputError(f"`margin` must be zero or a positive number of pixels; got {margin}.")
    before, after = render_array([source, target]).astype(np.int16)
    padded = np.pad((np.abs(before - after) > threshold).any(axis=-1), margin)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(windows.any(axis=(-1, -2)))
