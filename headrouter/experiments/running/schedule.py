"""Share units of work out: a worker stays with the model that it has loaded, and the last shares are small."""

import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from headrouter.experiments.executor import Share
from headrouter.experiments.running.unit import Unit

Loading = tuple[str, ...] | None
Cost = Callable[[Unit], Mapping[str, float]]
"""Returns what is left of a unit: by picture its cost, in any unit of time."""


@dataclass(slots=True)
class _Rest:
    number: int
    pictures: dict[str, float]


@dataclass(slots=True)
class _Queue:
    """Holds the units of one model that are left, and its speed as far as it is known."""

    rests: deque[_Rest] = field(default_factory=deque)
    cost: float = 0.0
    pictures: int = 0
    loading: float = 0.0
    seconds: float = 0.0
    done: float = 0.0

    def add(self, rest: _Rest, *, first: bool = False) -> None:
        (self.rests.appendleft if first else self.rests.append)(rest)
        self.cost += sum(rest.pictures.values())
        self.pictures += len(rest.pictures)

    def take(self, most: int) -> tuple[int, dict[str, float]]:
        """Take pictures of the first unit, at most so many."""
        rest = self.rests[0]
        taken = dict(list(rest.pictures.items())[:most])
        if len(taken) == len(rest.pictures):
            self.rests.popleft()
        else:
            for picture in taken:
                del rest.pictures[picture]
        self.cost -= sum(taken.values())
        self.pictures -= len(taken)
        return rest.number, taken


@final
class Schedule:
    """Decides which share a worker does next.

    A worker stays with its model while there is work for it. One that has none goes to the model with the most work for each of
    its workers, unless those will be done before it could have loaded. When few pictures of a model are left, shares are smaller
    than units, half of what each worker would get, down to one picture: all end at nearly the same time.

    Args:
        units: Units by their numbers, those of one model in their order.
        cost: Of what is left of a unit.
        workers: Number of workers.
    """

    def __init__(self, units: Mapping[int, Unit], cost: Cost, workers: int):
        """Queue what is left of the units."""
        self._units, self._workers = units, workers
        self._queues: dict[Loading, _Queue] = {}
        self._on: dict[Hashable, Loading] = {}
        self._taken: dict[Share, dict[str, float]] = {}
        for number, unit in units.items():
            if pictures := dict(cost(unit)):
                self._queues.setdefault(unit.loading, _Queue()).add(_Rest(number, pictures))

    @property
    def empty(self) -> bool:
        """Return whether every share has been taken."""
        return not any(queue.rests for queue in self._queues.values())

    def take(self, worker: Hashable) -> Share | None:
        """Return the next share of a worker; None if there is none that is worth its while now."""
        loading = self._choice(worker)
        if loading is _NOTHING:
            return None
        queue, here = self._queues[loading], 1
        if loading is not None:
            self._on[worker] = loading
            here = Counter(self._on.values())[loading]
        most = queue.pictures if self._workers == 1 else max(1, math.ceil(queue.pictures / (2 * here)))
        number, taken = queue.take(most)
        share = Share(number, tuple(taken))
        self._taken[share] = taken
        return share

    def finished(self, share: Share, seconds: float, loading: float) -> None:
        """Note how long a share took, and how much of that was loading."""
        queue = self._queues[self._units[share.unit].loading]
        queue.done += sum(self._taken.pop(share).values())
        queue.seconds += seconds - loading
        queue.loading = max(queue.loading, loading)

    def lost(self, worker: Hashable, share: Share | None) -> None:
        """Forget a worker, and let others do its share."""
        self._on.pop(worker, None)
        if share is not None:
            self._queues[self._units[share.unit].loading].add(_Rest(share.unit, self._taken.pop(share)), first=True)

    def drop(self, loading: Loading) -> None:
        """Forget the units of a model that cannot be loaded."""
        self._queues[loading] = _Queue()

    def _choice(self, worker: Hashable) -> Any:
        """Return the model of the next share."""
        if None in self._queues and self._queues[None].rests:
            return None  # nothing to load: whoever comes does it
        own = self._on.get(worker)
        if own is not None and self._queues[own].rests:
            return own
        here = Counter(loading for other, loading in self._on.items() if other != worker)
        worth = {
            loading: self._left(queue) / (here[loading] + 1)
            for loading, queue in self._queues.items()
            if queue.rests and (not here[loading] or self._seconds(queue) / here[loading] > queue.loading)
        }
        return max(worth, key=lambda loading: worth[loading]) if worth else _NOTHING

    def _left(self, queue: _Queue) -> float:
        """Return the cost that is left of a model, in seconds once the speed of all is known."""
        known = all(other.done for other in self._queues.values() if other.rests)
        return self._seconds(queue) if known else queue.cost

    @staticmethod
    def _seconds(queue: _Queue) -> float:
        return queue.cost * queue.seconds / queue.done if queue.done else math.inf


_NOTHING = object()


def left_of(unit: Unit, weights: Mapping[str, float], lacks: Callable[[Any, Any], bool]) -> dict[str, float]:
    """Return the cost of each picture of a unit of which anything is left.

    Args:
        unit: The unit.
        weights: Cost of an edit by the key of its configuration.
        lacks: Says whether a job and an item are to be done.
    """
    found: dict[str, float] = {}
    for job in unit.jobs:
        for item in unit.items:
            if lacks(job, item):
                found[item.picture_key] = found.get(item.picture_key, 0.0) + weights[job.configuration.key]
    return {key: found[key] for key in pictures_of(unit.items) if key in found}


def pictures_of(items: Iterable[Any]) -> tuple[str, ...]:
    """Return the keys of the pictures of items, each once."""
    return tuple(dict.fromkeys(item.picture_key for item in items))
