"""Reads a picture's eight attributes by comparing it with renderings. Nothing is learned.

First every combination of shape, texture, style, size, position and number, in every colour, is compared at half
resolution and at nine offsets; a picture is linear in its three colours, so all colours cost one matrix product. Then
the best few are drawn at full resolution, also a pixel to each side, and the nearest drawing wins.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from headrouter.errors import InvalidInputError
from headrouter_shapes.world.drawing import PICTURE_SIZE, Array, layers
from headrouter_shapes.world.scene import OFFSET, Scene, Variation
from headrouter_shapes.world.vocabulary import BACKGROUND_COLOURS, INK_COLOURS, OBJECT_COLOURS, SEMANTICS

_COLOURS: Final = np.array(list(OBJECT_COLOURS.values()), dtype=np.float32)
_PAPERS: Final = np.array(list(BACKGROUND_COLOURS.values()), dtype=np.float32)
_INKS: Final = np.array(list(INK_COLOURS.values()), dtype=np.float32)
_SHIFTS: Final = tuple(itertools.product((-int(OFFSET), 0, int(OFFSET)), repeat=2))
_CANDIDATES: Final = 12
_FINALISTS: Final = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """Holds the oracle's reading of a picture.

    ``attributes``: the eight words by semantic. ``distance``: root mean square difference to the nearest drawing, of
    255; a few units for a picture of the world, more for anything else.
    """

    attributes: dict[str, str]
    distance: float


@functools.cache
def _bank() -> tuple[list[Scene], Array, Array]:
    """Return all colourless drawings: scenes, maps [3, N, H/2 · W/2] (cover, body, ink), products of maps [3, 3, N]."""
    drawn_by = [SEMANTICS[name] for name in ("shape", "texture", "size", "position", "number", "style")]
    scenes = [
        Scene(shape=shape, texture=texture, size=size, position=position, number=number, style=style)
        for shape, texture, size, position, number, style in itertools.product(*drawn_by)
    ]
    parts = []
    for start in range(0, len(scenes), 240):
        drawn = layers(scenes[start : start + 240])
        parts.append(np.stack([_halve(part).reshape(len(part), -1) for part in (drawn.cover, drawn.body, drawn.ink)]))
    maps = np.concatenate(parts, axis=1)
    return scenes, maps, np.einsum("anp,bnp->abn", maps, maps)


def _halve(picture: Array) -> Array:
    """Average blocks of 2×2 pixels of [..., H, W]."""
    *lead, height, width = picture.shape
    halved: Array = picture.reshape(*lead, height // 2, 2, width // 2, 2).mean(axis=(-3, -1))
    return halved


def _paper(pictures: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return the background's colour [B, 3], the median of the frame, and the index of its name [B]."""
    top, bottom, left, right = pictures[:, :2], pictures[:, -2:], pictures[:, :, :2], pictures[:, :, -2:]
    frame = [part.reshape(len(pictures), -1, 3) for part in (top, bottom, left, right)]
    colour = np.median(np.concatenate(frame, axis=1), axis=1).astype(np.float32)
    return colour, np.square(colour[:, None] - _PAPERS).sum(axis=-1).argmin(axis=-1)


def _shifted(difference: Array) -> Array:
    """Return the picture [H, W, 3] moved back by each shift, at half resolution: [shifts, 3, H/2 · W/2]."""
    most = int(OFFSET)
    padded = np.pad(difference, ((most, most), (most, most), (0, 0)))
    moved = [padded[most + y : most + y + PICTURE_SIZE, most + x : most + x + PICTURE_SIZE] for x, y in _SHIFTS]
    return _halve(np.stack(moved).transpose(0, 3, 1, 2)).reshape(len(_SHIFTS), 3, -1)


def _coarse(difference: Array, paper: Array, ink: Array) -> list[tuple[Scene, Variation]]:
    """Return the nearest drawings to ``picture − paper`` [H, W, 3] at half resolution, each with its best offset."""
    scenes, maps, products = _bank()
    view = _shifted(difference)
    hit = np.einsum("scp,anp->sanc", view, maps, optimize=True)
    cover, body, pen = hit[:, 0], hit[:, 1], hit[:, 2]
    fixed = 2.0 * (cover @ paper - pen @ ink)
    fixed += paper @ paper * products[0, 0] + ink @ ink * products[2, 2] - 2.0 * (paper @ ink) * products[0, 2]
    tinted = -2.0 * body @ _COLOURS.T + products[1, 1][:, None] * np.square(_COLOURS).sum(axis=1)
    tinted += 2.0 * (products[1, 2][:, None] * (_COLOURS @ ink) - products[0, 1][:, None] * (_COLOURS @ paper))
    error = fixed[..., None] + tinted
    shift, best = error.argmin(axis=0), error.min(axis=0)
    chosen = np.argpartition(best.reshape(-1), _CANDIDATES)[:_CANDIDATES]
    found = []
    for row, colour in zip(*np.unravel_index(chosen, best.shape), strict=True):
        x, y = _SHIFTS[shift[row, colour]]
        scene = dataclasses.replace(scenes[row], colour=SEMANTICS["colour"][colour])
        found.append((scene, Variation(offset=(float(x), float(y)))))
    return found


def _errors(picture: Array, paper: Array, ink: Array, guesses: Sequence[tuple[Scene, Variation]]) -> Array:
    """Return the mean squared difference of the picture [H, W, 3] to each guess, its shade fitted: [guesses]."""
    drawn = layers([scene for scene, _ in guesses], [variation for _, variation in guesses])
    colour = np.array([OBJECT_COLOURS[scene.colour] for scene, _ in guesses], dtype=np.float32)
    guessed = (
        paper * (1.0 - drawn.cover)[..., None]
        + ink * drawn.ink[..., None]
        + colour[:, None, None] * drawn.body[..., None]
    )
    rest = picture - guessed
    weight = np.square(drawn.body).sum(axis=(1, 2)) + 1e-6
    shade = np.clip((rest.mean(axis=-1) * drawn.body).sum(axis=(1, 2)) / weight, -16.0, 16.0)
    mean: Array = np.square(rest - (shade[:, None, None] * drawn.body)[..., None]).mean(axis=(1, 2, 3))
    return mean


def _refine(picture: Array, paper: Array, ink: Array, guesses: list[tuple[Scene, Variation]]) -> tuple[Scene, float]:
    """Compare guesses at full resolution, the best few also a pixel aside; return the nearest scene and its error."""
    order = np.argsort(_errors(picture, paper, ink, guesses))[:_FINALISTS]
    moved = [
        (scene, Variation((at.offset[0] + x, at.offset[1] + y)))
        for scene, at in (guesses[row] for row in order)
        for x, y in itertools.product((-1.0, 0.0, 1.0), repeat=2)
    ]
    errors = _errors(picture, paper, ink, moved)
    best = int(errors.argmin())
    return moved[best][0], float(errors[best])


def read(pictures: npt.NDArray[np.uint8]) -> list[Reading]:
    """Read pictures of the world, uint8 [B, 64, 64, 3].

    Raises:
        InvalidInputError: another shape or type.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (PICTURE_SIZE, PICTURE_SIZE, 3):
        raise InvalidInputError(
            f"`pictures` must be uint8 of shape [B, {PICTURE_SIZE}, {PICTURE_SIZE}, 3]; "
            f"got {pictures.dtype} {list(pictures.shape)}. Resize or stack them first."
        )
    values = pictures.astype(np.float32)
    readings = []
    for picture, paper, name in zip(values, *_paper(values), strict=True):
        ink = _INKS[name]
        scene, error = _refine(picture, paper, ink, _coarse(picture - paper, paper, ink))
        attributes = scene.attributes | {"background": SEMANTICS["background"][name]}
        readings.append(Reading(attributes, float(np.sqrt(error))))
    return readings
