"""Caption a scene, and read a caption back."""

import re
from collections.abc import Callable
from typing import Final

from headrouter.errors import InvalidInputError
from headrouter.prompts.words import fold, word_spans
from headrouter_shapes.world.scene import Scene
from headrouter_shapes.world.vocabulary import PLACES, PLURALS, SEMANTICS, world_words

_TEMPLATES: Final[tuple[Callable[[Scene, str, str], str], ...]] = (
    lambda scene, things, place: f"{things} {place}, {scene.style}, on a {scene.background} background",
    lambda scene, things, place: (
        f"{_article(scene.style)} {scene.style} drawing of {things} {place} on a {scene.background} background"
    ),
    lambda scene, things, place: f"on a {scene.background} background {things} {place} in {scene.style} style",
    lambda scene, things, place: f"a {scene.background} background with {things}, {scene.style}, {place}",
)
VARIANTS: Final = 4 * len(_TEMPLATES)
"""How many wordings there are: sentences, two orders of the adjectives, "a" or "one"."""


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def caption(scene: Scene, variant: int = 0) -> str:
    """Say what the scene shows, all eight semantics, in one of :data:`VARIANTS` wordings.

    Two scenes that differ in one value have captions that differ in that value's words only, given the same variant.

    Raises:
        InvalidInputError: ``variant`` outside 0 ... VARIANTS - 1.

    >>> caption(Scene(shape="star", colour="blue", texture="striped"))
    'a large striped blue star in the center, filled, on a white background'
    """
    if not 0 <= variant < VARIANTS:
        raise InvalidInputError(f"`variant` must be between 0 and {VARIANTS - 1}; got {variant}.")
    template, order, single = variant % len(_TEMPLATES), variant // len(_TEMPLATES) % 2, variant // len(_TEMPLATES) // 2
    count = "a" if scene.number == "one" and single == 0 else scene.number
    look = (scene.texture, scene.colour) if order == 0 else (scene.colour, scene.texture)
    noun = scene.shape if scene.number == "one" else PLURALS[scene.shape]
    things = f"{count} {scene.size} {look[0]} {look[1]} {noun}"
    return _TEMPLATES[template](scene, things, PLACES[scene.position])


def words_of(text: str) -> list[str]:
    """Split a prompt into lower-case words; punctuation, hyphens and spaces separate.

    >>> words_of("A red, hand-drawn star 🌟!")
    ['a', 'red', 'hand', 'drawn', 'star', '🌟']
    """
    words = [fold(text[start:stop]) for start, stop in word_spans(text)]
    return [part for word in words for part in re.findall(r"[^\W_]+", word) or [word]]


def check_words(text: str) -> None:
    """Refuse a prompt that the bundled models cannot understand.

    Raises:
        InvalidInputError: the text has a word that the world does not know; the message names it and lists all words.
    """
    known = world_words()
    unknown = sorted({word for word in words_of(text) if word not in known})
    if unknown:
        raise InvalidInputError(
            f"`prompt` may only use words of the drawn world; unknown: {', '.join(unknown)}. "
            f"It knows: {', '.join(known)}."
        )


def parse(text: str) -> dict[str, str]:
    """Read the semantics that a caption names; what it does not mention is absent.

    Raises:
        InvalidInputError: an unknown word, or two different values of one semantic.

    >>> parse("two red stars")
    {'shape': 'star', 'colour': 'red', 'number': 'two'}
    """
    check_words(text)
    singular = {plural: noun for noun, plural in PLURALS.items()}
    said = [singular.get(word, word) for word in words_of(text)]
    if "one" not in said and any(word in SEMANTICS["shape"] for word in words_of(text)):
        said.append("one")
    found: dict[str, str] = {}
    for semantic, values in SEMANTICS.items():
        named = [value for value in values if value in said]
        if len(named) > 1:
            raise InvalidInputError(f"`prompt` names more than one {semantic}: {', '.join(named)}. Keep one of them.")
        if named:
            found[semantic] = named[0]
    return found
