"""Describe a scene by one value of each semantic and a variation. It states the content of a drawing, not its rendering."""

import dataclasses
import hashlib
from typing import Final

import numpy as np

from headrouter.errors import InvalidInputError
from headrouter_shapes.world.vocabulary import SEMANTICS

HELD_OUT_ONE_IN: Final = 10
OFFSET: Final = 4.0
"""Pixels that a variation may move a group by, in each direction: one cell of the latents."""
_HELD_OUT_SEMANTICS: Final = ("shape", "colour", "texture", "background")


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """Describes a picture by eight words, and a number for everything that words do not say.

    ``variation`` seeds the small differences between pictures of the same caption (offset and shades). Zero is the
    picture without any. An edit keeps it, so what the caption does not mention is the same before and after.

    Raises:
        InvalidInputError: a value that the world does not know, or a negative ``variation``.

    >>> Scene(shape="star", colour="blue").position
    'center'
    """

    shape: str = "circle"
    colour: str = "red"
    texture: str = "plain"
    background: str = "white"
    size: str = "large"
    position: str = "center"
    number: str = "one"
    style: str = "filled"
    variation: int = 0

    def __post_init__(self) -> None:
        for semantic, values in SEMANTICS.items():
            value = getattr(self, semantic)
            if value not in values:
                raise InvalidInputError(f"`{semantic}` must be one of {', '.join(values)}; got {value!r}.")
        if self.variation < 0:
            raise InvalidInputError(f"`variation` must be zero or a positive whole number; got {self.variation}.")

    @property
    def attributes(self) -> dict[str, str]:
        """Return the eight words by semantic, without the variation."""
        return {semantic: getattr(self, semantic) for semantic in SEMANTICS}


@dataclasses.dataclass(frozen=True, slots=True)
class Variation:
    """Holds the differences between two pictures of the same caption.

    ``offset``: of the whole group, in pixels (x right, y down), each -4, 0 or 4. ``shade`` and ``paper``: added to all
    channels of the object's and the background's colour, in [-12, 12] and [-9, 9] of 255.
    """

    offset: tuple[float, float] = (0.0, 0.0)
    shade: float = 0.0
    paper: float = 0.0


def variation_of(scene: Scene) -> Variation:
    """Return the differences that ``scene.variation`` stands for: always the same for the same number."""
    if scene.variation == 0:
        return Variation()
    generator = np.random.default_rng(scene.variation)
    x, y = (OFFSET * generator.integers(-1, 2, 2)).tolist()
    shade, paper = generator.uniform(-1.0, 1.0, 2).tolist()
    return Variation((x, y), 12.0 * shade, 9.0 * paper)


def is_held_out(scene: Scene) -> bool:
    """Return whether the scene's shape, colour, texture and background together are kept from training (about one in ten).

    The choice is a hash of the four words, so it needs no list and never changes.
    """
    words = " ".join(getattr(scene, semantic) for semantic in _HELD_OUT_SEMANTICS)
    return hashlib.sha256(words.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def sample_scene(generator: np.random.Generator, held_out: bool | None = None) -> Scene:
    """Draw a scene uniformly: from all of them, only held-out ones (True) or only the others (False)."""
    while True:
        words = {name: values[int(generator.integers(len(values)))] for name, values in SEMANTICS.items()}
        scene = Scene(**words, variation=int(generator.integers(1, 2**31)))
        if held_out is None or is_held_out(scene) == held_out:
            return scene


def edit(scene: Scene, semantic: str, generator: np.random.Generator) -> Scene:
    """Return the scene with another value of one semantic, drawn uniformly, and everything else as it was.

    Raises:
        InvalidInputError: ``semantic`` is none of the eight.

    >>> edit(Scene(size="small"), "size", np.random.default_rng(0)).size
    'large'
    """
    if semantic not in SEMANTICS:
        raise InvalidInputError(f"`semantic` must be one of {', '.join(SEMANTICS)}; got {semantic!r}.")
    others = [value for value in SEMANTICS[semantic] if value != getattr(scene, semantic)]
    return dataclasses.replace(scene, **{semantic: others[int(generator.integers(len(others)))]})  # type: ignore[arg-type]
