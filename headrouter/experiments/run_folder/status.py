"""Say how far a run is: finished, failed and remaining cells, the processes at work, and the remaining time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.folder import PROCESSES
from headrouter.experiments.run_folder.lock import read_all
from headrouter.experiments.run_folder.process import Processes, died_here
from headrouter.experiments.run_folder.reading import records_by_key


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts the cells of a configuration.

    Attributes:
        key: Of the configuration, ``sd3.5/rf``.
        done: Edited and measured without an error.
        failed: With an error, of the edit or of a metric.
        left: Neither.
    """

    key: str
    done: int
    failed: int
    left: int


@dataclass(frozen=True, slots=True)
class Process:
    """Describes a process that works in a run folder, or died there.

    Attributes:
        host, number: Where it is: name of the machine, number of the process.
        alive: Whether it lives; None for one of another machine, of which only ``seen`` is known.
        seen: Seconds since its last sign of life.
        done: Cells that it has done.
    """

    host: str
    number: int
    alive: bool | None
    seen: float
    done: int


@dataclass(frozen=True)
class Status:
    """Holds the state of a run.

    Attributes:
        folder: The run folder.
        experiment: Name of the experiment.
        progress: Of each configuration.
        processes: At work, or dead.
        failures: Errors of edits and metrics, with the number of cells that have each.
        seconds_left: Estimate by the speed of those at work; None if nobody is, or nothing is done yet.
    """

    folder: Path
    experiment: str
    progress: Sequence[Progress]
    processes: Sequence[Process]
    failures: Mapping[str, int]
    seconds_left: float | None

    @property
    def left(self) -> int:
        """Return the number of cells that are left."""
        return sum(one.left for one in self.progress)

    def text(self) -> str:
        """Return lines for people."""
        width = max([len(one.key) for one in self.progress], default=0)
        lines = [f"{self.experiment}, in {self.folder}", "", f"{'':{width}}    done  failed    left"]
        lines += [f"{one.key:{width}}  {one.done:6}  {one.failed:6}  {one.left:6}" for one in self.progress]
        if self.failures:
            lines += ["", *(f"{count} × {sentence}" for sentence, count in self.failures.items())]
        lines += ["", *(_line(one) for one in self.processes)] if self.processes else ["", "no process is at work here"]
        if self.left and self.seconds_left is not None:
            lines += [f"about {_duration(self.seconds_left)} left"]
        return "\n".join(lines)


def status(folder: str | Path) -> Status:
    """Read the state of a run folder, whether anybody is at work there or not.

    Raises:
        InvalidInputError: it is no run folder, or damaged.
    """
    path, now = Path(folder), time.time()
    origin, by_key = read_all(path), records_by_key(path)
    records = list({one.cell: one for some in by_key.values() for one in some}.values())
    progress = [
        _progress(key, plain, by_key[key], origin.top.get("items", 0)) for key, plain in origin.configurations.items()
    ]
    failures: dict[str, int] = {}
    for one in records:
        for during, found in one.failures.items():
            sentence = f"{during}: {found.sentence}"
            failures[sentence] = failures.get(sentence, 0) + 1
    everyone = Processes(path / PROCESSES).all()
    processes = processes_in(path, now)
    begun = [plain.get("began", now) for name, plain in everyone.items() if died_here(name) is not True]
    since = min(begun, default=now)
    recent, left = sum(one.at >= since for one in records), sum(one.left for one in progress)
    seconds = left * (now - since) / recent if begun and recent else None
    return Status(path, str(origin.top.get("experiment")), progress, processes, failures, seconds)


def processes_in(folder: Path, now: float) -> list[Process]:
    """Return the processes that work in a run folder, or died there; ``now`` is the time, seconds since 1970."""
    return [_process(name, plain, now) for name, plain in Processes(folder / PROCESSES).all().items()]


def _progress(key: str, plain: Mapping[str, Any], records: Sequence[CellRecord], items: int) -> Progress:
    seeds = {*plain.get("seeds", ()), *(one.seed for one in records)}
    failed = sum(bool(one.failures) for one in records)
    return Progress(key, len(records) - failed, failed, max(0, items * len(seeds) - len(records)))


def _process(name: str, plain: Mapping[str, Any], now: float) -> Process:
    died = died_here(name)
    alive = None if died is None else not died
    seen = max(0.0, now - plain.get("at", now))
    return Process(str(plain.get("host")), plain.get("number", 0), alive, seen, plain.get("done", 0))


def _line(one: Process) -> str:
    state = {True: "at work", False: "dead", None: "on another machine"}[one.alive]
    return f"process {one.number} on {one.host}: {state}, last sign of life {_duration(one.seen)} ago, {one.done} cells"


def _duration(seconds: float) -> str:
    """Return a time for people.

    >>> _duration(42), _duration(3700), _duration(200_000)
    ('42 s', '62 min', '56 h')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
