"""Define the cells of an experiment, and what is on record of each, as a line of JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from typing_extensions import Self

from headrouter.experiments.metric import Value

EDIT: Final = "edit"
"""Stands among failures for the edit itself, beside the names of metrics."""


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """Names one edit of an experiment.

    Attributes:
        configuration: Hash of the configuration.
        item: Key of the data set's item.
        seed: Seed of the run; the noise of a picture is drawn from it and the picture's number.
    """

    configuration: str
    item: str
    seed: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Holds the cost of one edit, its share of a batch: model calls as if it were alone, rows and seconds.

    Seconds of the thread's processor are the ones to compare on a machine that others use too. The inversion is included
    even where it was kept. ``peak_memory`` is that of :class:`~headrouter.sampling.cost.Cost`, 0 if unknown.
    """

    calls: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0
    peak_memory: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        """Return the cost of two runs, one after the other."""
        return Spent(
            self.calls + other.calls,
            self.rows + other.rows,
            self.seconds + other.seconds,
            self.processor + other.processor,
            max(self.peak_memory, other.peak_memory),
        )

    def share(self, count: int) -> "Spent":
        """Return the share of one among ``count`` that ran in the same calls."""
        return replace(self, rows=self.rows / count, seconds=self.seconds / count, processor=self.processor / count)


@dataclass(frozen=True, slots=True)
class Failure:
    """Describes an error: its type, its sentence, and the file of the traceback within the run folder."""

    type: str
    sentence: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """Names the file of an edited picture within the run folder, and the SHA-256 of its pixels."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CellRecord:
    """Holds all that is on record of a cell, or a part of it that is added to the rest.

    Attributes:
        cell: The cell.
        configuration, backbone: Names; the backbone of an editor of another kind is empty.
        picture, kind: Of the item: key of its picture, kind of edit.
        saved: The edited picture; None if the edit failed, and in lines that add measures.
        cost: Its cost.
        measures: By metric, the columns.
        failures: By metric, or by ``edit``.
        diagnostics: Small tensors that methods recorded, as nested lists, by method and name.
        maps: File of mask, word maps and head weights within the run folder; empty if none were asked for, or recorded.
        at: Seconds since 1970 when it was written.
        process: Process that wrote it.
        after: Process that had the cell before, and was taken for dead; its result gives way to this one.
    """

    cell: CellKey
    configuration: str = ""
    backbone: str = ""
    picture: str = ""
    kind: str = ""
    saved: Saved | None = None
    cost: Spent = field(default_factory=Spent)
    measures: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    diagnostics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    maps: str = ""
    at: float = 0.0
    process: str = ""
    after: str = ""

    @property
    def edited(self) -> bool:
        """Return whether there is a picture."""
        return self.saved is not None

    @property
    def item(self) -> str:
        """Return the key of the edit."""
        return self.cell.item

    @property
    def seed(self) -> int:
        """Return the seed of the run."""
        return self.cell.seed

    @property
    def spent(self) -> Mapping[str, float]:
        """Return the cost by name."""
        return asdict(self.cost)

    @property
    def values(self) -> Mapping[str, Value]:
        """Return all columns, each behind the name of its metric: ``psnr-1.psnr``."""
        return {f"{metric}.{name}": value for metric, row in self.measures.items() for name, value in row.items()}

    def line(self) -> str:
        """Return JSON. A number that is not defined, NaN, is null."""
        plain = asdict(self)
        plain["measures"] = {
            metric: {
                name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
            }
            for metric, row in self.measures.items()
        }
        plain.pop("process")
        return json.dumps({name: value for name, value in plain.items() if value}, ensure_ascii=False, allow_nan=False)

    @classmethod
    def read(cls, line: str | bytes, process: str = "") -> Self:
        """Read a line; ValueError, KeyError, TypeError or AttributeError for anything else."""
        plain = json.loads(line)
        cell, saved = CellKey(**plain.pop("cell")), plain.pop("saved", None)
        if not (isinstance(cell.configuration, str) and isinstance(cell.item, str) and type(cell.seed) is int):
            raise ValueError(f"no cell: {cell}")
        failures = {name: Failure(**one) for name, one in plain.pop("failures", {}).items()}
        measures = {metric: dict(row.items()) for metric, row in plain.pop("measures", {}).items()}
        cost = Spent(**plain.pop("cost", {}))
        made = None if saved is None else Saved(**saved)
        return cls(cell, saved=made, cost=cost, measures=measures, failures=failures, process=process, **plain)

    def joined(self, other: "CellRecord") -> "CellRecord":
        """Return what both say together, in whichever order they are read.

        A result goes before a failure, of failures the latest, and of results of two processes that of the one that took over.

        Raises:
            ValueError: two results that differ, without such a reason.
        """
        if self.edited and other.edited and self.saved != other.saved:
            for winner, loser in ((self, other), (other, self)):
                if winner.after and winner.after == loser.process:
                    return winner
            raise ValueError("another result of a cell that is there already")
        first, second = (self, other) if (self.edited, self.at) >= (other.edited, other.at) else (other, self)
        measures = {**second.measures, **first.measures}
        if different := [name for name, row in second.measures.items() if measures[name] != row]:
            raise ValueError(f"other measures by {', '.join(different)} than are there already")
        older, newer = sorted((self, other), key=lambda one: one.at)
        solved = {*measures, *([EDIT] if first.edited else [])}
        failures = {name: found for name, found in {**older.failures, **newer.failures}.items() if name not in solved}
        return replace(first, measures=measures, failures=failures, at=newer.at)
