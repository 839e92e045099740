"""Define the words of the drawn world: eight semantics, their values, and the colours behind the names.

The eight semantics are independent: every combination of values is a scene. They are the eight kinds of edit of the
benchmark, and the words below are the words of the captions.
"""

from typing import Final

SEMANTICS: Final[dict[str, tuple[str, ...]]] = {
    "shape": ("circle", "square", "triangle", "star", "cross", "heart"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple"),
    "texture": ("plain", "striped", "dotted", "checkered"),
    "background": ("white", "gray", "black", "pink", "mint"),
    "size": ("small", "large"),
    "position": ("left", "right", "top", "bottom", "center"),
    "number": ("one", "two", "three"),
    "style": ("filled", "outlined", "sketched"),
}
"""Name of each semantic and its values, in the order in which a scene lists them."""

OBJECT_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 38, 42),
    "orange": (246, 136, 22),
    "yellow": (244, 214, 40),
    "green": (42, 156, 68),
    "blue": (42, 88, 216),
    "purple": (146, 58, 186),
}
"""Colour of an object's body, sRGB in [0, 255]."""

BACKGROUND_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "white": (243, 243, 240),
    "gray": (150, 150, 152),
    "black": (28, 28, 32),
    "pink": (250, 190, 208),
    "mint": (172, 228, 204),
}
"""Colour of the paper, sRGB in [0, 255]; none is near an object's colour."""

INK_COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "white": (32, 32, 36),
    "gray": (32, 32, 36),
    "black": (236, 236, 232),
    "pink": (32, 32, 36),
    "mint": (32, 32, 36),
}
"""Colour of the pen of a sketch on each background: the one that can be seen."""

PLURALS: Final[dict[str, str]] = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "star": "stars",
    "cross": "crosses",
    "heart": "hearts",
}

PLACES: Final[dict[str, str]] = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "center": "in the center",
}
"""How a caption says a position."""

OTHER_WORDS: Final[tuple[str, ...]] = (
    "a",
    "an",
    "at",
    "background",
    "drawing",
    "in",
    "of",
    "on",
    "style",
    "the",
    "with",
)
"""Words of captions that carry no attribute."""


def world_words() -> tuple[str, ...]:
    """Return every word that a caption of the world can contain, sorted.

    >>> "stars" in world_words(), "dragon" in world_words()
    (True, False)
    """
    words = {value for values in SEMANTICS.values() for value in values}
    return tuple(sorted(words | set(PLURALS.values()) | set(OTHER_WORDS)))
