"""Define what makes the edits of a unit, and the one that leaves pictures as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, final

from PIL import Image

from headrouter.experiments.dataset import Item
from headrouter.experiments.run_folder.cell import Spent
from headrouter.experiments.running.unit import Job, Unit

Pictures: TypeAlias = Mapping[str, Image.Image]
"""Pictures of a unit by their keys."""


@final
@dataclass(frozen=True, eq=False)
class Made:
    """Holds an edited picture, of the size of the source, its cost, small diagnostics by method and name, and maps."""

    image: Image.Image
    cost: Spent = field(default_factory=Spent)
    diagnostics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    maps: Mapping[str, Any] = field(default_factory=dict)


class Hand(Protocol):
    """Makes the edits of a unit."""

    def edit(self, unit: Unit, job: Job, items: Sequence[Item], pictures: Pictures) -> Sequence[Made]:
        """Return the edits of some of the unit's items by one of its jobs."""
        ...


@final
class PictureHand:
    """Gives pictures as they are."""

    def edit(self, unit: Unit, job: Job, items: Sequence[Item], pictures: Pictures) -> Sequence[Made]:
        """Return the source of each item."""
        return [Made(pictures[item.picture_key]) for item in items]


def attempted(make: Callable[[Sequence[Item]], Sequence[Made]], items: Sequence[Item]) -> list[Made | Exception]:
    """Return each edit, or its error: where several fail together, each is tried alone."""
    try:
        return list(make(items))
    except Exception as error:
        return [error] if len(items) == 1 else [one for item in items for one in attempted(make, [item])]
