"""Collect all that is wrong with a data set, to report it at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headrouter.errors import InvalidInputError

SHOWN: Final = 12
"""Problems that a message names; of the others it has the number."""
_LONGEST: Final = 150
"""Characters of one problem."""


@dataclass(slots=True)
class Problems:
    """Holds problems with the files and rows where they are.

    >>> problems = Problems("data set 'pie-bench'", Path("pie"))
    >>> problems.add("edits.csv:3", "no `prompt`.")
    >>> problems.refuse()
    Traceback (most recent call last):
        ...
    headrouter.errors.InvalidInputError: data set 'pie-bench' in 'pie' has 1 problem:
    edits.csv:3: no `prompt`.
    """

    name: str
    folder: Path
    found: list[str] = field(default_factory=list)

    def add(self, place: str, problem: str) -> None:
        """Add a problem at a place, ``file:row``."""
        line = f"{place}: {problem}"
        self.found.append(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…")

    def refuse(self) -> None:
        """Raise :class:`InvalidInputError` with all problems, if there are any."""
        if self.found:
            count = f"{len(self.found)} problem{'s' * (len(self.found) > 1)}"
            more = len(self.found) - SHOWN
            rest = [f"… and {more} more"] * (more > 0)
            lines = [f"{self.name} in '{self.folder}' has {count}:", *self.found[:SHOWN], *rest]
            raise InvalidInputError("\n".join(lines))
