"""Find the points of a search that no other surpasses in both objectives."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from headrouter_tune.objectives import Objective


class Valued(Protocol):
    """Has a value of each of two objectives, or none."""

    @property
    def values(self) -> tuple[float, float] | None: ...


Found = TypeVar("Found", bound=Valued)


def non_dominated(points: Sequence[Found], objectives: tuple[Objective, Objective]) -> list[Found]:
    """Return the points that no other dominates, the best in the first objective first.

    A point dominates another if it is better in one objective and not worse in the other.
    """

    def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
        pairs = list(zip(objectives, one, other, strict=True))
        worse = any(objective.better(theirs, ours) for objective, ours, theirs in pairs)
        return not worse and any(objective.better(ours, theirs) for objective, ours, theirs in pairs)

    every = [(point, values) for point in points if (values := point.values) is not None]
    best = [(point, values) for point, values in every if not any(dominates(other, values) for _, other in every)]
    sign = 1 if objectives[0].direction == "minimize" else -1
    return [point for point, _ in sorted(best, key=lambda pair: sign * pair[1][0])]
