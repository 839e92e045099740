"""Define the edits of the benchmark: two fixed sets, ``tune`` to choose by and ``test`` to measure with once.

A set is a list of sources. Each source is a held-out scene and is edited four times, once each in four of the eight
semantics: even sources in shape, texture, size and number, odd ones in colour, background, position and style. Four
edits of one picture share its inversion and its row, which makes them almost twice as fast as four pictures.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from headrouter.errors import InvalidInputError
from headrouter_shapes.world.caption import VARIANTS, caption
from headrouter_shapes.world.instruction import Change, instruction
from headrouter_shapes.world.scene import Scene, edit, sample_scene
from headrouter_shapes.world.vocabulary import SEMANTICS

Set = Literal["tune", "test"]
SETS: Final[dict[str, int]] = {"tune": 20_411, "test": 50_340}
"""Name of each set and the seed of its scenes."""
SIZES: Final[dict[str, int]] = {"quick": 80, "full": 400}
"""Name of each size and its number of edits; quick is the beginning of full."""
EDITS_PER_SOURCE: Final = 4
KINDS: Final = tuple(SEMANTICS)
"""The eight kinds of edit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """Describes one edit to be done.

    Attributes:
        number: Of the edit within its set, from 0.
        source_number: Of the picture, from 0; four cases share it.
        kind: The semantic that changes.
        source, target: Before and after.
        wording: Variant of both captions.
    """

    number: int
    source_number: int
    kind: str
    source: Scene
    target: Scene
    wording: int

    @property
    def key(self) -> str:
        """Return the number as three digits, which names files."""
        return f"{self.number:03d}"

    @property
    def source_prompt(self) -> str:
        """Return the caption of the source."""
        return caption(self.source, self.wording)

    @property
    def prompt(self) -> str:
        """Return the caption of the target: only the words of the changed semantic differ."""
        return caption(self.target, self.wording)

    @property
    def instruction(self) -> str:
        """Return the edit as a request, for instance ``make the star red``."""
        return instruction(Change(self.source, self.target), self.wording)

    @property
    def change(self) -> str:
        """Return the change in words, for instance ``red → blue``."""
        return f"{getattr(self.source, self.kind)} → {getattr(self.target, self.kind)}"

    def seed(self, base: int) -> int:
        """Return the seed of all noise of this picture in a run with the seed ``base``."""
        return 1000 * base + self.source_number


def cases(name: str = "tune", count: int = SIZES["quick"]) -> list[Case]:
    """Return the first ``count`` edits of a set.

    Args:
        name: ``"tune"`` or ``"test"``.
        count: 1 to 400; 80 is the quick size, 400 the full one. Multiples of 8 have as many edits of each kind.

    Raises:
        InvalidInputError: another set, or a count out of range.
    """
    if name not in SETS:
        raise InvalidInputError(f"`set` must be one of {', '.join(SETS)} (got {name!r}).")
    if not 1 <= count <= SIZES["full"]:
        raise InvalidInputError(f"`count` must be between 1 and {SIZES['full']} edits (got {count}).")
    made: list[Case] = []
    for source_number in range(-(-count // EDITS_PER_SOURCE)):
        generator = np.random.default_rng((SETS[name], source_number))
        source, wording = sample_scene(generator, held_out=True), int(generator.integers(VARIANTS))
        for kind in KINDS[source_number % 2 :: 2]:
            target = edit(source, kind, generator)
            made.append(Case(len(made), source_number, kind, source, target, wording))
    return made[:count]


def chosen_cases(name: str, count: int, kinds: Sequence[str] = ()) -> list[Case]:
    """Return the edits of some kinds among the first ``count`` of a set; of all kinds if none is named."""
    if unknown := sorted({*kinds} - {*KINDS}):
        raise InvalidInputError(f"`kinds` {', '.join(unknown)} do not exist; choose from {', '.join(KINDS)}.")
    chosen = [case for case in cases(name, count) if not kinds or case.kind in kinds]
    if not chosen:
        raise InvalidInputError(f"`kinds` {', '.join(kinds)}: the first {count} edits have none of them.")
    return chosen


def fingerprint(name: str, count: int = SIZES["full"]) -> str:
    """Return the SHA-256 of the first ``count`` edits of a set: scenes and captions."""
    digest = hashlib.sha256()
    for case in cases(name, count):
        digest.update(
            repr((case.number, case.kind, case.source, case.target, case.source_prompt, case.prompt)).encode()
        )
    return digest.hexdigest()
