"""Times of things that are run in turns, so that whatever else the machine does falls on all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import final

import torch

Progress = Callable[[str], None]
Case = Callable[[], object]


@final
@dataclass(frozen=True, slots=True)
class Spell:
    """One run of one case.

    Attributes:
        wall: Seconds on the clock.
        work: Seconds that processors worked for this process; on an accelerator, those on the clock.
    """

    wall: float
    work: float


def spell(case: Case, device: torch.device) -> Spell:
    """Run a case once, to the end of what it leaves the device to do."""
    _wait(device)
    wall, work = time.perf_counter(), time.process_time()
    case()
    _wait(device)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    return Spell(wall, wall if device.type == "cuda" else work)


@final
@dataclass(frozen=True, slots=True)
class Times:
    """Spells of several cases, one of each in every round."""

    rounds: tuple[Mapping[str, Spell], ...]

    def seconds(self, case: str) -> float:
        """Median seconds of work."""
        return statistics.median(one[case].work for one in self.rounds)

    def ratios(self, case: str, over: str, clock: str = "work") -> list[float]:
        """Round by round, one case over another."""
        return [getattr(one[case], clock) / getattr(one[over], clock) for one in self.rounds]

    def added(self, case: str, over: str) -> list[float]:
        """Round by round, seconds of work that one case takes more than another."""
        return [one[case].work - one[over].work for one in self.rounds]


def alternate(
    cases: Mapping[str, Case],
    rounds: int,
    *,
    device: torch.device | str = "cpu",
    warm_up: int = 1,
    progress: Progress = lambda line: None,
) -> Times:
    """Run every case once a round, here and now."""
    runs = {name: partial(spell, case, torch.device(device)) for name, case in cases.items()}
    return in_turns(runs, rounds, warm_up=warm_up, progress=progress)


def in_turns(
    runs: Mapping[str, Callable[[], Spell]],
    rounds: int,
    *,
    warm_up: int = 1,
    clock: str = "work",
    progress: Progress = lambda line: None,
) -> Times:
    """Run everything once a round, each round beginning with another one. Warm-up rounds are not counted."""
    names, done = list(runs), []
    for number in range(-warm_up, rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        spells = {name: runs[name]() for name in turned}
        figures = ", ".join(f"{name} {getattr(spells[name], clock):.3g} s" for name in names)
        progress(f"round {number + 1} of {rounds}: {figures}" if number >= 0 else f"warm-up: {figures}")
        if number >= 0:
            done.append(spells)
    return Times(tuple(done))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
