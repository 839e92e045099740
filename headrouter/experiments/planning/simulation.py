"""Simulate a run: the same shares to the same workers, with given times in place of the work."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import Field

from headrouter.config.configuration import Parameters, validate
from headrouter.config.yaml_document import read_yaml
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import AnyConfiguration, Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.executor import Share
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.planning.rehearsal import rehearse
from headrouter.experiments.running.schedule import Schedule, left_of
from headrouter.experiments.running.unit import Unit, units_of


@final
class Constants(Parameters):
    """Holds the times of a run, in seconds, measured or published.

    Attributes:
        row: Of a row of a model call, by the group of the configurations, ``flux``.
        edit: Of an edit by another editor, by the name of the configuration.
        load: Of loading a model, by the group or the name.
        encode: Of the texts and the latents of a picture, by the group; once for each share.
        cell: Of a cell beside its model calls: decoding, writing, the record, metrics.
        claim: Of claiming a picture and giving it back, once for each share.
        start: Of a worker before its first share: imports, joining the run.
        price: Of a worker's hour, in any currency; 0 if it is unknown.
    """

    row: dict[str, float] = Field(default_factory=dict)
    edit: dict[str, float] = Field(default_factory=dict)
    load: dict[str, float] = Field(default_factory=dict)
    encode: dict[str, float] = Field(default_factory=dict)
    cell: float = Field(default=0.0, ge=0)
    claim: float = Field(default=0.0, ge=0)
    start: float = Field(default=0.0, ge=0)
    price: float = Field(default=0.0, ge=0)


def read_constants(path: str | Path, experiment: Experiment) -> Constants:
    """Read the constants of an experiment from a YAML file.

    Raises:
        InvalidInputError: a field is wrong, a group is unknown, or one of the experiment lacks its time.
    """
    found = validate(Constants, read_yaml(path))
    groups = {one.group for one in experiment.configurations if isinstance(one, Configuration)}
    others = {one.name for one in experiment.configurations if not isinstance(one, Configuration)}
    wrong = [
        f"{path}: `{field}` has no {name!r}, which the experiment edits with. Give its seconds."
        for field, needed in (("row", groups), ("edit", others), ("load", groups | others))
        for name in sorted(needed - set(getattr(found, field)))
    ]
    if wrong:
        raise InvalidInputError("\n".join(wrong))
    return found


@final
@dataclass(frozen=True)
class Slot:
    """Holds a share of a worker: its beginning and end, and the seconds of loading and editing."""

    worker: int
    share: Share
    begin: float
    loading: float
    editing: float
    end: float


@final
@dataclass(frozen=True)
class Simulation:
    """Holds a simulated run.

    Attributes:
        workers: Number of workers.
        slots: What they do, by time.
        seconds: Until the last has finished.
        shares: Seconds of all workers together by what they are spent on: ``model calls``, ``loading``, ``texts and latents``,
            ``cells``, ``claims``, ``starting``, ``waiting``.
        price: Of a worker's hour.
    """

    workers: int
    slots: Sequence[Slot]
    seconds: float
    shares: Mapping[str, float]
    price: float = 0.0

    @property
    def efficiency(self) -> float:
        """Return the part of the workers' time that is spent on model calls."""
        return self.shares["model calls"] / (self.workers * self.seconds) if self.seconds else 1.0

    @property
    def hours(self) -> float:
        """Return the workers' hours."""
        return self.workers * self.seconds / 3600

    @property
    def bottleneck(self) -> str:
        """Return what most of the time beside model calls is spent on."""
        return max((name for name in self.shares if name != "model calls"), key=lambda name: self.shares[name])


Spend = Callable[[Unit, bool], Mapping[str, float]]
"""Returns the seconds of a part of a unit by what they are spent on; the truth value says whether the model is to be loaded."""


def simulate(
    experiment: Experiment,
    items: Sequence[Item],
    workers: int,
    constants: Constants,
    *,
    weights: Mapping[str, float],
    batch: int,
) -> Simulation:
    """Simulate a run of all cells by some workers, each with a device of its own.

    Args:
        experiment: The experiment.
        items: Edits of the data set.
        workers: Number of workers.
        constants: Times.
        weights: Costs by which the run would share out, see :func:`~headrouter.experiments.running.runner.weights_of`.
        batch: Most edits in a unit of one configuration.
    """
    units = units_of(experiment, {one.key: one.key for one in experiment.configurations}, items, batch)
    return simulated(units, workers, lambda unit, loads: spent(unit, loads, constants), weights, constants)


def simulated(
    units: Sequence[Unit], workers: int, spend: Spend, weights: Mapping[str, float], constants: Constants
) -> Simulation:
    """Simulate the schedule of units, each part of which takes what ``spend`` says."""
    schedule = Schedule(dict(enumerate(units)), lambda unit: left_of(unit, weights, lambda *_: True), workers)
    shares: dict[str, float] = defaultdict(float, {"model calls": 0.0, "starting": workers * constants.start})
    slots: list[Slot] = []
    models: dict[int, tuple[str, ...]] = {}
    idle, busy, now = list(range(workers)), list[tuple[float, int, Slot]](), constants.start
    while True:
        for worker in sorted(idle):
            if (share := schedule.take(worker)) is None:
                continue
            idle.remove(worker)
            unit = units[share.unit].part(share.pictures)
            loads = unit.loading is not None and models.get(worker) != unit.loading
            if unit.loading is not None:
                models[worker] = unit.loading
            taken = spend(unit, loads)
            for name, seconds in taken.items():
                shares[name] += seconds
            end = now + sum(taken.values())
            slots.append(Slot(worker, share, now, taken.get("loading", 0.0), taken.get("model calls", 0.0), end))
            heapq.heappush(busy, (end, worker, slots[-1]))
        if not busy:
            break
        now = busy[0][0]
        while busy and busy[0][0] == now:
            _, worker, slot = heapq.heappop(busy)
            schedule.finished(slot.share, slot.end - slot.begin, slot.loading)
            idle.append(worker)
    shares["waiting"] = max(0.0, workers * now - sum(shares.values()))
    return Simulation(workers, slots, now, dict(shares), constants.price)


def spent(unit: Unit, loads: bool, constants: Constants) -> dict[str, float]:
    """Return the seconds of a unit: its inversion once, each configuration's sampling, and what is beside the model."""
    pictures: dict[str, int] = {}
    for item in unit.items:
        pictures[item.picture_key] = pictures.get(item.picture_key, 0) + 1
    first = unit.jobs[0].configuration
    calls = sum(_sampling(job.configuration, pictures, constants) for job in unit.jobs)
    if isinstance(first, Configuration) and not first.still:
        calls += len(pictures) * rehearse(first.plan).inversion_rows * constants.row[first.group]
    return {
        "model calls": calls,
        "loading": constants.load[name_of(first)] if loads else 0.0,
        "texts and latents": len(pictures) * constants.encode.get(name_of(first), 0.0),
        "cells": len(unit.jobs) * len(unit.items) * constants.cell,
        "claims": len(pictures) * constants.claim,
    }


def _sampling(configuration: AnyConfiguration, pictures: Mapping[str, int], constants: Constants) -> float:
    if not isinstance(configuration, Configuration):
        return constants.edit[configuration.name] * sum(pictures.values())
    if configuration.still:
        return 0.0
    found = rehearse(configuration.plan)
    return constants.row[configuration.group] * sum(found.rows(count) for count in pictures.values())


def name_of(configuration: AnyConfiguration) -> str:
    """Return the name under which constants of a model are given."""
    return configuration.group if isinstance(configuration, Configuration) else configuration.name
