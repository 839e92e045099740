"""Compute outlines of the shapes and their signed distance, from one table a shape."""

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from headrouter_shapes.world.vocabulary import SEMANTICS

Array = npt.NDArray[np.float32]

REACH: Final = 2.0
"""The table covers [-REACH, REACH]² in units of the object's radius."""
_CELLS: Final = 256


def _star(points: int, outer: float, inner: float) -> npt.NDArray[np.float64]:
    angles = np.pi * (np.arange(2 * points) / points - 0.5)
    radii = np.where(np.arange(2 * points) % 2 == 0, outer, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1)


def _heart() -> npt.NDArray[np.float64]:
    t = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    x = 16.0 * np.sin(t) ** 3
    y = -(13.0 * np.cos(t) - 5.0 * np.cos(2 * t) - 2.0 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 1.0], axis=-1) / 15.5


def vertices(shape: str) -> npt.NDArray[np.float64]:
    """Return the corners of a shape of radius one, [N, 2] as (x right, y down), of about equal areas."""
    if shape == "circle":
        angles = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
        return 0.95 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    if shape == "square":
        return 0.86 * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    if shape == "triangle":
        return np.array([[0.0, -1.05], [1.1, 0.85], [-1.1, 0.85]])
    if shape == "star":
        return _star(5, outer=1.14, inner=0.54)
    if shape == "cross":
        long, short = 1.0, 0.4
        quarter = np.array([[short, -long], [short, -short], [long, -short]])
        turns = [
            quarter @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in np.arange(4) * np.pi / 2
        ]
        return np.concatenate(turns)
    return _heart()


def _polygon_distance(corners: npt.NDArray[np.float64], x: Array, y: Array) -> Array:
    """Return the signed distance to a polygon's nearest edge, negative inside (even-odd rule)."""
    squared = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey = bx - ax, by - ay
        along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        squared = np.minimum(squared, (x - ax - along * ex) ** 2 + (y - ay - along * ey) ** 2)
        if ay != by:
            crosses = ((ay > y) != (by > y)) & (x < (y - ay) * ex / ey + ax)
            inside ^= crosses
    distance: Array = (np.where(inside, -1.0, 1.0) * np.sqrt(squared)).astype(np.float32)
    return distance


@functools.cache
def _tables() -> Array:
    axis = np.linspace(-REACH, REACH, _CELLS + 1, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    return np.stack([_polygon_distance(vertices(shape), x, y) for shape in SEMANTICS["shape"]])


def signed_distance(shape: npt.NDArray[np.intp], x: Array, y: Array) -> Array:
    """Return the distance to the outline in units of the radius, negative inside.

    Args:
        shape: index into the shapes of the vocabulary, broadcastable to ``x``.
        x: coordinate to the right, in units of the radius; clipped to the table's reach.
        y: coordinate downwards, likewise.
    """
    scale = _CELLS / (2.0 * REACH)
    u = np.clip((x + REACH) * scale, 0.0, _CELLS - 1e-3).astype(np.float32)
    v = np.clip((y + REACH) * scale, 0.0, _CELLS - 1e-3).astype(np.float32)
    column, row = u.astype(np.intp), v.astype(np.intp)
    u -= column
    v -= row
    width = _CELLS + 1
    flat = _tables().reshape(-1)
    corner = (shape * width + row) * width + column
    upper = flat[corner] * (1.0 - u) + flat[corner + 1] * u
    lower = flat[corner + width] * (1.0 - u) + flat[corner + width + 1] * u
    blended: Array = upper * (1.0 - v) + lower * v
    return blended
