"""Compute the weight maps of a scene, before any colour.

Lengths are pixels of a 64×64 picture. Every object is drawn in a window of its own, from the signed distance to its
outline, and added to the picture; coverage of a pixel follows from the distance of its centre to an edge.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from headrouter_shapes.world.outline import signed_distance
from headrouter_shapes.world.scene import Scene, Variation, variation_of
from headrouter_shapes.world.vocabulary import SEMANTICS

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

PICTURE_SIZE: Final = 64
"""Height and width of a picture in pixels."""
_WINDOW: Final = 32
_PITCH: Final = 20.0
_RADII: Final = {"small": 6.2, "large": 9.0}
_CENTRES: Final = {
    "left": (12.0, 32.0),
    "right": (52.0, 32.0),
    "top": (32.0, 12.0),
    "bottom": (32.0, 52.0),
    "center": (32.0, 32.0),
}
_SLOTS: Final = {"one": (0.0,), "two": (-1.0, 1.0), "three": (0.0, -1.0, 1.0)}
_MARK_SHADE: Final = 0.38
_OUTLINED: Final = SEMANTICS["style"].index("outlined")


@dataclasses.dataclass(frozen=True, slots=True)
class Layers:
    """Holds weight maps of a batch of drawings, each float32 [B, H, W] in [0, 1].

    ``cover``: how much of the pixel hides the background. ``body``: weight of the object's colour (marks of a texture
    weigh less, they are darker). ``ink``: weight of the pen's colour. ``silhouette``: the area of the objects.
    """

    cover: Array
    body: Array
    ink: Array
    silhouette: Array


@dataclasses.dataclass(frozen=True, slots=True)
class _Objects:
    """Holds M objects to draw: row, centre [M, 2], codes of shape, texture and style [M, 3], radius."""

    row: Index
    centre: Array
    codes: Index
    radius: Array


def layers(scenes: Sequence[Scene], variations: Sequence[Variation] | None = None) -> Layers:
    """Return the weight maps of ``scenes``; ``variations`` stands in for the ones the scenes carry."""
    if variations is None:
        variations = [variation_of(scene) for scene in scenes]
    padded = PICTURE_SIZE + 2 * _WINDOW
    canvases = np.zeros((4, len(scenes), padded, padded), dtype=np.float32)
    half = _WINDOW // 2
    for slot in range(3):
        objects = _objects(scenes, variations, slot)
        if objects is None:
            continue
        corner = np.floor(objects.centre).astype(np.intp)
        drawn = _draw(objects, objects.centre - corner)
        index = np.arange(_WINDOW) + _WINDOW - half
        down, across = (corner[:, axis, None] + index for axis in (1, 0))
        for canvas, part in zip(canvases, drawn, strict=True):
            canvas[objects.row[:, None, None], down[:, :, None], across[:, None, :]] += part
    inner = slice(_WINDOW, _WINDOW + PICTURE_SIZE)
    return Layers(*np.minimum(canvases[:, :, inner, inner], 1.0))


def _objects(scenes: Sequence[Scene], variations: Sequence[Variation], slot: int) -> _Objects | None:
    """Return the objects that fill one slot of their groups; groups at the sides stand upright, the others lie."""
    rows, centres, codes, radii = [], [], [], []
    for row, (scene, variation) in enumerate(zip(scenes, variations, strict=True)):
        if slot >= len(_SLOTS[scene.number]):
            continue
        step = _PITCH * _SLOTS[scene.number][slot]
        x, y = _CENTRES[scene.position]
        upright = scene.position in {"left", "right"}
        rows.append(row)
        centres.append((x + variation.offset[0] + step * (not upright), y + variation.offset[1] + step * upright))
        codes.append([SEMANTICS[name].index(getattr(scene, name)) for name in ("shape", "texture", "style")])
        radii.append(_RADII[scene.size])
    if not rows:
        return None
    return _Objects(
        np.array(rows),
        np.array(centres, dtype=np.float32),
        np.array(codes, dtype=np.intp),
        np.array(radii, dtype=np.float32)[:, None, None],
    )


def _draw(objects: _Objects, fraction: npt.NDArray[np.floating]) -> tuple[Array, Array, Array, Array]:
    """Draw objects in their windows: cover, body, ink and silhouette, each [M, w, w].

    ``fraction`` [M, 2] is what the whole-pixel place of a window leaves of the centre.
    """
    grid = np.arange(_WINDOW, dtype=np.float32) + 0.5 - _WINDOW // 2
    x: Array = (grid[None, None, :] - fraction[:, 0, None, None]).astype(np.float32)
    y: Array = (grid[None, :, None] - fraction[:, 1, None, None]).astype(np.float32)
    shape, texture, style = (objects.codes[:, part, None, None] for part in range(3))
    distance = objects.radius * signed_distance(shape, x / objects.radius, y / objects.radius)
    fill = _ramp(distance)
    line = _ramp(np.abs(distance + 0.9) - 0.9)
    marks = _marks(texture, x, y)
    strokes = _strokes(distance, np.arctan2(y, x))
    ink: Array = np.choose(style, [np.zeros_like(fill), fill * marks, strokes])
    shaded = fill * (1.0 - (1.0 - _MARK_SHADE) * marks)
    body: Array = (np.where(style == _OUTLINED, line, shaded) * (1.0 - ink)).astype(np.float32)
    cover: Array = np.maximum(np.where(style == _OUTLINED, line, fill), ink)
    silhouette: Array = np.maximum(fill, cover)
    return cover, body, ink, silhouette


def _strokes(distance: Array, angle: Array) -> Array:
    """Return the coverage of the two wobbling pen strokes of a sketch."""
    first = np.abs(distance - 0.4 + 1.1 * np.sin(3.0 * angle + 1.0))
    second = np.abs(distance - 0.4 - 1.1 * np.sin(2.0 * angle - 0.5))
    return _ramp(np.minimum(first, second) - 0.55)


def _marks(texture: Index, x: Array, y: Array) -> Array:
    """Return the coverage of a texture's marks at pixels (x, y) from the object's centre, [M, w, w]."""
    striped = _ramp(_wave(y - 1.3, 5.2) - 1.3)
    dotted = _ramp(np.hypot(_wave(x, 5.0), _wave(y, 5.0)) - 1.6)
    cell = 4.0
    across, down = _wave(x + cell / 2, 2 * cell) - cell / 2, _wave(y + cell / 2, 2 * cell) - cell / 2
    nearest = np.minimum(np.abs(across), np.abs(down))
    checkered = _ramp(np.where(across * down > 0, -nearest, nearest))
    marks: Array = np.choose(texture, [np.zeros_like(striped), striped, dotted, checkered])
    return marks


def _ramp(distance: npt.NDArray[np.floating]) -> Array:
    """Return the coverage of a pixel whose centre is ``distance`` pixels outside an edge."""
    covered: Array = np.clip(0.5 - distance, 0.0, 1.0).astype(np.float32)
    return covered


def _wave(t: Array, period: float) -> Array:
    """Return the distance of ``t`` from the nearest multiple of ``period``."""
    folded: Array = np.abs(t - period * np.round(t / period))
    return folded
