"""Map the characters of a normalised text to those of the text that the user gave."""

from dataclasses import dataclass
from typing import final

Span = tuple[int, int]
"""Characters ``text[start:stop]``."""


@final
@dataclass(frozen=True, slots=True)
class Spelling:
    """Holds a text, and for each of its characters the characters of another text.

    Attributes:
        text: Text that a tokenizer reads.
        origins: Of each character, ``start`` and ``stop`` in the text that the user gave.
    """

    text: str
    origins: tuple[Span, ...]

    def origin(self, start: int, stop: int) -> Span:
        """Returns the characters of the user's text that ``text[start:stop]``, not empty, stands for."""
        return self.origins[start][0], self.origins[stop - 1][1]

    def replaced(self, old: str, new: str) -> "Spelling":
        """Returns the spelling with ``new`` for every ``old``; each new character stands for all of ``old``."""
        parts, origins, at = self.text.split(old), list[Span](), 0
        for number, part in enumerate(parts):
            if number:
                origins += [self.origin(at, at + len(old))] * len(new)
                at += len(old)
            origins += self.origins[at : at + len(part)]
            at += len(part)
        return Spelling(new.join(parts), tuple(origins))
