"""Say an edit of a scene as an instruction: "make the star red", "two stars instead of one".

An instruction names what changes, not what the picture shows. Each of the eight semantics has :data:`WORDINGS` wordings, and asking
for no change has as many.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from headrouter.errors import InvalidInputError
from headrouter_shapes.world.scene import HELD_OUT_ONE_IN, Scene, edit, is_held_out, sample_scene
from headrouter_shapes.world.vocabulary import PLACES, PLURALS, SEMANTICS, world_words

WORDINGS: Final = 4
"""How many wordings each kind of instruction has."""
_Say = Callable[[Scene, Scene], str]
_KEEP: Final = ("keep the drawing", "change nothing", "keep it as it is", "leave the drawing as it is")
_OTHER_WORDS: Final = (
    *("as", "by", "change", "color", "draw", "give", "instead", "into", "is", "it", "keep", "leave", "make", "move"),
    *("nothing", "number", "put", "replace", "size", "texture", "to", "turn"),
)
"""Words of instructions that captions do not have."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """Holds the scenes before and after an edit, which differ in one semantic.

    Raises:
        InvalidInputError: they differ in another number of them, or in their variation.
    """

    source: Scene
    target: Scene

    def __post_init__(self) -> None:
        pairs = zip(self.source.attributes.items(), self.target.attributes.values(), strict=True)
        differing = [name for (name, before), after in pairs if before != after]
        if len(differing) != 1 or self.source.variation != self.target.variation:
            raise InvalidInputError(
                f"`target` must differ from `source` in one semantic and nothing else; got {', '.join(differing) or 'none'}."
            )

    @property
    def kind(self) -> str:
        """Return the semantic that changes."""
        return next(name for name in SEMANTICS if getattr(self.source, name) != getattr(self.target, name))

    @property
    def turned(self) -> "Change":
        """Return the change back."""
        return Change(self.target, self.source)

    @property
    def held_out(self) -> bool:
        """Return whether it is kept from training, for either scene or for what is asked of it.

        About one in ten combinations of kind, new value, and the shape and background that it is asked of.
        """
        source, kind = self.source, self.kind
        words = f"{kind} {getattr(self.target, kind)} {source.shape} {source.background}"
        combined = hashlib.sha256(words.encode()).digest()[0] % HELD_OUT_ONE_IN == 0
        return combined or is_held_out(source) or is_held_out(self.target)


def _things(scene: Scene, number: str | None = None) -> str:
    return scene.shape if (number or scene.number) == "one" else PLURALS[scene.shape]


def _some(scene: Scene, word: str = "") -> str:
    """Return "a red star", "an orange star", "red stars"."""
    said = f"{word} {_things(scene)}".strip()
    return said if scene.number != "one" else f"{'an' if said[0] in 'aeiou' else 'a'} {said}"


def _it(scene: Scene) -> str:
    return f"the {_things(scene)}"


_SAID: Final[dict[str, tuple[_Say, ...]]] = {
    "shape": (
        lambda a, b: f"turn {_it(a)} into {_some(b)}",
        lambda a, b: f"replace {_it(a)} by {_some(b)}",
        lambda a, b: f"{_some(b)} instead of {_it(a)}",
        lambda a, b: f"make {_it(a)} {_some(b)}",
    ),
    "colour": (
        lambda a, b: f"make {_it(a)} {b.colour}",
        lambda _, b: f"change the color to {b.colour}",
        lambda a, b: f"turn {_it(a)} {b.colour}",
        lambda a, b: f"{_some(b, b.colour)} instead of {a.colour}",
    ),
    "texture": (
        lambda a, b: f"make {_it(a)} {b.texture}",
        lambda _, b: f"change the texture to {b.texture}",
        lambda a, b: f"give {_it(a)} a {b.texture} texture",
        lambda a, b: f"{_some(b, b.texture)} instead of {a.texture}",
    ),
    "background": (
        lambda _, b: f"make the background {b.background}",
        lambda _, b: f"change the background to {b.background}",
        lambda a, b: f"put {_it(a)} on a {b.background} background",
        lambda a, b: f"a {b.background} background instead of {a.background}",
    ),
    "size": (
        lambda a, b: f"make {_it(a)} {b.size}",
        lambda _, b: f"change the size to {b.size}",
        lambda _, b: f"make it {b.size}",
        lambda a, b: f"{_some(b, b.size)} instead of {a.size}",
    ),
    "position": (
        lambda a, b: f"move {_it(a)} to the {b.position}",
        lambda _, b: f"move it to the {b.position}",
        lambda a, b: f"put {_it(a)} {PLACES[b.position]}",
        lambda a, b: f"{_it(a)} {PLACES[b.position]} instead of {PLACES[a.position]}",
    ),
    "number": (
        lambda _, b: f"make it {b.number} {_things(b)}",
        lambda _, b: f"draw {b.number} {_things(b)}",
        lambda _, b: f"change the number to {b.number}",
        lambda a, b: f"{b.number} {_things(b)} instead of {a.number}",
    ),
    "style": (
        lambda a, b: f"make {_it(a)} {b.style}",
        lambda _, b: f"change the style to {b.style}",
        lambda a, b: f"draw {_it(a)} in {b.style} style",
        lambda a, b: f"{_some(b, b.style)} instead of {a.style}",
    ),
}


def instruction(change: Change, wording: int = 0) -> str:
    """Say what to change, in one of :data:`WORDINGS` wordings; other numbers go round.

    >>> instruction(Change(Scene(shape="star", colour="blue"), Scene(shape="star", colour="red")))
    'make the star red'
    >>> instruction(Change(Scene(shape="star"), Scene(shape="star", number="two")), 3)
    'two stars instead of one'
    """
    return _SAID[change.kind][wording % WORDINGS](change.source, change.target)


def no_change(wording: int = 0) -> str:
    """Ask for the drawing as it is: the null instruction in words.

    >>> no_change()
    'keep the drawing'
    """
    return _KEEP[wording % WORDINGS]


def instruction_words() -> tuple[str, ...]:
    """Return every word that a caption or an instruction can contain, sorted."""
    return tuple(sorted({*world_words(), *_OTHER_WORDS}))


def training_changes(seed: int, first: int, count: int) -> list[Change]:
    """Return changes ``first`` to ``first + count`` of the endless list that ``seed`` stands for, none held out either way."""
    return [next(_trained(np.random.default_rng((seed, 2, number)))) for number in range(first, first + count)]


def _trained(generator: np.random.Generator) -> Iterator[Change]:
    kinds = tuple(SEMANTICS)
    while True:
        source = sample_scene(generator, held_out=False)
        change = Change(source, edit(source, kinds[int(generator.integers(len(kinds)))], generator))
        if not change.held_out and not change.turned.held_out:
            yield change
