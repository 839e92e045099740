"""Gather what a run folder holds for a report, damaged or still running, and name what is missing."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headrouter.config.configuration import validate
from headrouter.editing.assembly import part_class
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.configuration import EDITORS, slug_of
from headrouter.experiments.dataset import Dataset, Item
from headrouter.experiments.metric import Column
from headrouter.experiments.run_folder.cell import CellKey, CellRecord
from headrouter.experiments.run_folder.lock import read_whole_part
from headrouter.experiments.run_folder.origin import Origin
from headrouter.experiments.run_folder.record_log import RECORDS, RecordLog, named
from headrouter.experiments.run_folder.status import Process, processes_in

_MOST: Final = 10
"""Damaged lines that are named one by one."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Describes a configuration of a run folder.

    Attributes:
        key: Its path in the folder, ``sd3.5/rf``.
        name, group: Of it, and of its backbone.
        hash: Of all that its results depend on.
        seeds: That it is to be run with.
        plain: What the folder says of it.
    """

    key: str
    name: str
    group: str
    hash: str
    seeds: tuple[int, ...]
    plain: Mapping[str, Any]

    @property
    def backbone(self) -> str:
        """Return the backbone's name in tables; empty for an editor of another kind."""
        return "" if self.group == EDITORS else self.group


@dataclass(frozen=True)
class Gathered:
    """Holds what a run folder holds.

    Attributes:
        folder: The run folder.
        origin: What made its results, as far as it can be read.
        configurations: In the order of the experiment, those of one backbone together.
        records: Of each configuration by its key: of all cells, failed or not, by seed and item.
        columns: Of all metrics, by name: ``psnr-1.psnr``.
        items: Of the data set, by key; empty if it cannot be read.
        radar: For kinds of edit, the one of the eight of :mod:`headrouter.experiments.radar`.
        processes: At work in the folder, or dead.
        problems: What is missing or damaged, in sentences.
    """

    folder: Path
    origin: Origin
    configurations: Sequence[Ran]
    records: Mapping[str, Sequence[CellRecord]]
    columns: Mapping[str, Column]
    items: Mapping[str, Item]
    radar: Mapping[str, str]
    processes: Sequence[Process]
    problems: list[str] = field(default_factory=list)

    @property
    def top(self) -> Mapping[str, Any]:
        """Return name of the experiment, number of items, baseline, data set and environment; empty if they cannot be read."""
        return self.origin.top

    @property
    def every(self) -> list[CellRecord]:
        """Return the records of all configurations, one after the other."""
        return [one for ran in self.configurations for one in self.records[ran.key]]

    def name_of(self, baseline: str | None) -> str:
        """Return the name of a baseline, given by name or key; None is that of the experiment, and none is empty."""
        given = self.top.get("baseline", "") if baseline is None else baseline
        return next((one.name for one in self.configurations if given in (one.name, one.key)), "")


def gather(folder: Path, only: Sequence[str] = ()) -> Gathered:
    """Read a run folder, and the data set that its edits are of.

    Args:
        folder: The run folder.
        only: Keys of the edits to take; all if empty.

    Raises:
        InvalidInputError: it is no run folder.
    """
    origin, problems = read_whole_part(folder)
    damaged: list[str] = []
    found = RecordLog(folder / RECORDS, damaged=damaged).records
    problems += damaged[:_MOST]
    if len(damaged) > _MOST:
        problems.append(f"{len(damaged) - _MOST} further lines of '{folder / RECORDS}' are damaged.")
    kept = {cell: one for cell, one in found.items() if not only or cell.item in only}
    configurations = [*_described(origin), *_undescribed(origin, kept, problems)]
    configurations.sort(key=lambda one: (one.group, one.plain.get("place", 0), one.name))
    by_hash: dict[str, list[CellRecord]] = {}
    for cell in sorted(kept, key=lambda cell: (cell.seed, cell.item)):
        by_hash.setdefault(cell.configuration, []).append(kept[cell])
    records = {
        one.key: [named(record, one.name, one.backbone) for record in by_hash.get(one.hash, [])]
        for one in configurations
    }
    items, radar = _items(origin.top.get("dataset"), problems)
    items = {key: item for key, item in items.items() if not only or key in only}
    columns, processes = _columns(origin, problems), processes_in(folder, time.time())
    return Gathered(folder, origin, configurations, records, columns, items, radar, processes, problems)


def _described(origin: Origin) -> Iterator[Ran]:
    for key, plain in origin.configurations.items():
        name, group = str(plain.get("name", key)), str(plain.get("group", key.partition("/")[0]))
        yield Ran(key, name, group, plain["hash"], tuple(plain.get("seeds", ())), plain)


def _undescribed(origin: Origin, records: Mapping[CellKey, CellRecord], problems: list[str]) -> Iterator[Ran]:
    """Yield configurations whose file is gone or damaged, under the names that their records have."""
    known, found = {one["hash"] for one in origin.configurations.values()}, dict[str, CellRecord]()
    for cell, record in records.items():
        if cell.configuration not in known:
            found.setdefault(cell.configuration, record)
    for digest, record in found.items():
        group = record.backbone or EDITORS
        problems.append(f"Nothing says what {group}/{record.configuration} is: its file is missing or damaged.")
        yield Ran(
            f"{slug_of(group)}/{slug_of(record.configuration)}-{digest}", record.configuration, group, digest, (), {}
        )


def _columns(origin: Origin, problems: list[str]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for label, metric in origin.metrics.items():
        try:
            columns |= {f"{label}.{name}": Column(**column) for name, column in metric["columns"].items()}
        except (KeyError, TypeError, AttributeError) as error:  # noqa: PERF203
            problems.append(f"The columns of the metric {label!r} cannot be read: {error}. They are left out.")
    return columns


def _items(dataset: Any, problems: list[str]) -> tuple[dict[str, Item], Mapping[str, str]]:
    """Return the items of a run's data set, read again; none where it is gone, or is another one."""
    if not dataset:
        return {}, {}
    try:
        values = {name: value for name, value in dataset.items() if name not in ("name", "revision", "code")}
        found: Dataset = validate(part_class("dataset", dataset["name"]), values)
        if found.revision != dataset["revision"]:
            raise InvalidInputError(f"the data set {dataset['name']!r} is not the one of the run any more.")
        return {item.key: item for item in found.items()}, found.radar
    except (HeadRouterError, OSError, KeyError, AttributeError) as error:
        problems.append(f"The data set cannot be read, so sources and prompts are missing: {error}")
        return {}, {}
