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

    first, second = (-1 if one.direction == "minimize" else 1 for one in objectives)
    gains = [
        (point, (first * values[0], second * values[1])) for point in points if (values := point.values) is not None
    ]
    best = [
        (point, (across, up))
        for point, (across, up) in gains
        if not any(other != (across, up) and other[0] >= across and other[1] >= up for _, other in gains)
    ]
    return [point for point, _ in sorted(best, key=lambda one: -one[1][0])]
