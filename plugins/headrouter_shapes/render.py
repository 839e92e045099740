"""From a scene to pixels.

A picture is a mixture of three colours, ``picture = background · (1 − cover) + colour · body + pen · ink``. The three
weight maps depend only on what is drawn where (:func:`layers`); the colours come last (:func:`compose`). The oracle uses
the same two halves, so what it compares with is the renderer itself.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from headrouter.errors import InvalidInputError
from headrouter_shapes.outline import signed_distance
from headrouter_shapes.scene import Scene, Variation, variation_of
from headrouter_shapes.vocabulary import BACKGROUND_COLOURS, INK_COLOURS, OBJECT_COLOURS, SEMANTICS

Array = npt.NDArray[np.float32]

PICTURE_SIZE: Final = 64
"""Height and width of a picture in pixels; all lengths below are pixels of this size."""
_WINDOW: Final = 32
_PITCH: Final = 20.5
_RADII: Final = {"small": 6.4, "large": 9.4}
_CENTRES: Final = {
    "left": (13.0, 32.0),
    "right": (51.0, 32.0),
    "top": (32.0, 13.0),
    "bottom": (32.0, 51.0),
    "center": (32.0, 32.0),
}
_SLOTS: Final = {"one": (0.0,), "two": (-1.0, 1.0), "three": (0.0, -1.0, 1.0)}
_MARK_SHADE: Final = 0.38


@dataclasses.dataclass(frozen=True, slots=True)
class Layers:
    """Weight maps of a batch of drawings, each float32 [B, H, W] in [0, 1].

    ``cover``: how much of the pixel hides the background. ``body``: weight of the object's colour (marks of a texture
    weigh less, they are darker). ``ink``: weight of the pen's colour. ``silhouette``: the area of the objects.
    """

    cover: Array
    body: Array
    ink: Array
    silhouette: Array


def _ramp(distance: Array) -> Array:
    """Coverage of a pixel whose centre is ``distance`` pixels outside an edge."""
    covered: Array = np.clip(0.5 - distance, 0.0, 1.0)
    return covered


def _wave(t: Array, period: float) -> Array:
    """Distance of ``t`` from the nearest multiple of ``period``."""
    folded: Array = np.abs(t - period * np.round(t / period))
    return folded


def _marks(texture: Array, x: Array, y: Array) -> Array:
    """Coverage of a texture's marks at pixels (x, y) from the object's centre, [M, w, w]."""
    striped = _ramp(_wave(y - 1.3, 5.2) - 1.3)
    dotted = _ramp(np.hypot(_wave(x, 5.0), _wave(y, 5.0)) - 1.6)
    cell = 4.0
    across, down = _wave(x + cell / 2, 2 * cell) - cell / 2, _wave(y + cell / 2, 2 * cell) - cell / 2
    nearest = np.minimum(np.abs(across), np.abs(down))
    checkered = _ramp(np.where(across * down > 0, -nearest, nearest).astype(np.float32))
    return np.choose(texture, [np.zeros_like(striped), striped, dotted, checkered])


def _draw(
    shape: Array, texture: Array, style: Array, radius: Array, x: Array, y: Array
) -> tuple[Array, Array, Array, Array]:
    """Draw one object per row: cover, body, ink and silhouette, each [M, w, w]."""
    distance = radius * signed_distance(shape, x / radius, y / radius)
    fill = _ramp(distance)
    marks = _marks(texture, x, y)
    filled = fill * (1.0 - (1.0 - _MARK_SHADE) * marks)
    line = _ramp(np.abs(distance + 0.9) - 0.9)
    angle = np.arctan2(y, x)
    first = np.abs(distance - 0.4 + 1.1 * np.sin(3.0 * angle + 1.0))
    second = np.abs(distance - 0.4 - 1.1 * np.sin(2.0 * angle - 0.5))
    strokes = _ramp(np.minimum(first, second) - 0.55)
    ink = np.choose(style, [np.zeros_like(fill), fill * marks, strokes])
    body = np.where(style == 1, line, filled) * (1.0 - ink)
    cover = np.maximum(np.where(style == 1, line, fill), ink)
    return cover, body, ink, np.maximum(fill, cover)


def layers(scenes: Sequence[Scene], variations: Sequence[Variation] | None = None) -> Layers:
    """Return the weight maps of ``scenes``; ``variations`` stands in for the ones the scenes carry."""
    if variations is None:
        variations = [variation_of(scene) for scene in scenes]
    half = _WINDOW // 2
    padded = PICTURE_SIZE + 2 * _WINDOW
    canvases = np.zeros((4, len(scenes), padded, padded), dtype=np.float32)
    grid = np.arange(_WINDOW, dtype=np.float32) + 0.5 - half
    for slot in range(3):
        rows, centres, codes, radii, tilts = [], [], [], [], []
        for row, (scene, variation) in enumerate(zip(scenes, variations, strict=True)):
            if slot >= len(_SLOTS[scene.number]):
                continue
            step = _PITCH * _SLOTS[scene.number][slot]
            x, y = _CENTRES[scene.position]
            upright = scene.position in ("left", "right")
            rows.append(row)
            centres.append((x + variation.offset[0] + step * (not upright), y + variation.offset[1] + step * upright))
            codes.append([SEMANTICS[name].index(getattr(scene, name)) for name in ("shape", "texture", "style")])
            radii.append(_RADII[scene.size])
            tilts.append(variation.tilt)
        if not rows:
            continue
        centre = np.array(centres, dtype=np.float32)
        corner = np.floor(centre).astype(np.intp)
        shape, texture, style = (np.array(codes, dtype=np.intp)[:, i, None, None] for i in range(3))
        tilt = np.array(tilts, dtype=np.float32)[:, None, None]
        x = grid[None, None, :] - (centre - corner)[:, 0, None, None]
        y = grid[None, :, None] - (centre - corner)[:, 1, None, None]
        turned = np.cos(tilt) * x + np.sin(tilt) * y, np.cos(tilt) * y - np.sin(tilt) * x
        radius = np.array(radii, dtype=np.float32)[:, None, None]
        drawn = _draw(shape, texture, style, radius, *turned)
        index = np.arange(_WINDOW) + _WINDOW - half
        place = (
            np.array(rows)[:, None, None],
            (corner[:, 1, None] + index)[:, :, None],
            (corner[:, 0, None] + index)[:, None, :],
        )
        for canvas, part in zip(canvases, drawn, strict=True):
            canvas[place] += part
    inner = slice(_WINDOW, _WINDOW + PICTURE_SIZE)
    return Layers(*np.minimum(canvases[:, :, inner, inner], 1.0))


def compose(drawing: Layers, colour: Array, background: Array, ink: Array) -> Array:
    """Mix the three colours, each [B, 3] in [0, 255], by the weight maps: float32 [B, H, W, 3] in [0, 255]."""
    picture: Array = (
        background[:, None, None, :] * (1.0 - drawing.cover)[..., None]
        + colour[:, None, None, :] * drawing.body[..., None]
        + ink[:, None, None, :] * drawing.ink[..., None]
    )
    return picture


def render_array(scenes: Sequence[Scene]) -> npt.NDArray[np.uint8]:
    """Draw scenes, the same bytes every time: uint8 [B, 64, 64, 3], sRGB."""
    variations = [variation_of(scene) for scene in scenes]
    colour = np.array([OBJECT_COLOURS[s.colour] for s in scenes], dtype=np.float32)
    background = np.array([BACKGROUND_COLOURS[s.background] for s in scenes], dtype=np.float32)
    ink = np.array([INK_COLOURS[s.background] for s in scenes], dtype=np.float32)
    colour += np.array([[v.shade] for v in variations], dtype=np.float32)
    background += np.array([[v.paper] for v in variations], dtype=np.float32)
    picture = compose(layers(scenes, variations), np.clip(colour, 0, 255), np.clip(background, 0, 255), ink)
    return np.round(np.clip(picture, 0.0, 255.0)).astype(np.uint8)


def render(scene: Scene) -> Image.Image:
    """Draw one scene: an RGB picture of 64×64 pixels, anti-aliased, the same bytes every time."""
    return Image.fromarray(render_array([scene])[0])


def mask(scene: Scene) -> Array:
    """Return the area of the scene's objects, holes of an outline included: float32 [64, 64] in [0, 1]."""
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
    region: npt.NDArray[np.bool_] = windows.any(axis=(-1, -2))
    return region
