"""Give pictures to begin with: drawings of the bundled world, rendered when they are asked for."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from headrouter.editing.assembly import part_class
from headrouter.experiments.dataset import Item

_DATASET: Final = "shapes"
_NUMBERS: Final = (4, 13, 24, 31)
"""Four drawings, in each of which something else is changed."""


@cache
def examples() -> Sequence[Item]:
    """Return drawings with their prompts and an edit of each."""
    found = part_class("dataset", _DATASET)(count=max(_NUMBERS) + 1).items()
    return [found[number] for number in _NUMBERS]
