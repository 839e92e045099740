"""Summarise the edits of each configuration: means and rates with 95 % intervals, by kind of edit, and their cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from headrouter.experiments.metric import Column
from headrouter.experiments.results.rows import (
    Row,
    by_configuration,
    counts,
    is_rate,
    is_text,
    pictures_of,
)
from headrouter.experiments.statistics import Estimate, mean, rate, spread_over_seeds

COSTS = ("calls", "rows", "seconds", "processor")
SET = ": "
"""Stands between a data set and a kind of its edits, where several sets are taken as one."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Summarises a configuration's edits.

    Attributes:
        number: Of the configuration, in tables and plots.
        backbone, configuration: Names.
        edits: Number of edits.
        values: Estimate of each column.
        by_kind: The same of each kind of edit.
        over_seeds: Standard deviation of each column between seeds; NaN with one seed.
        spent: Mean cost of an edit.
        by_set: Estimates of each data set where several are taken as one, so that each kind has its set before it,
            ``pie-bench: change_style``; empty otherwise.
    """

    number: int
    backbone: str
    configuration: str
    edits: int
    values: Mapping[str, Estimate]
    by_kind: Mapping[str, Mapping[str, Estimate]]
    over_seeds: Mapping[str, float]
    spent: Mapping[str, float]
    by_set: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


def summarise(rows: Sequence[Row], columns: Mapping[str, Column]) -> list[Summary]:
    """Put the rows of each configuration together, in their order; columns of texts are left out."""
    shown = {name: column for name, column in columns.items() if not is_text(rows, name)}
    rates = {name for name in shown if is_rate(rows, name)}
    kinds = list(dict.fromkeys(row.kind for row in rows))
    return [_summary(number, some, shown, rates, kinds) for number, some in enumerate(by_configuration(rows), 1)]


def _summary(
    number: int, rows: Sequence[Row], columns: Mapping[str, Column], rates: set[str], kinds: Sequence[str]
) -> Summary:
    members = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    sets = {
        kind.partition(SET)[0]: [row for row in rows if row.kind.startswith(kind.partition(SET)[0] + SET)]
        for kind in kinds
    }
    apart = len(sets) > 1 and all(SET in kind for kind in kinds)

    def estimated(some: Sequence[Row]) -> dict[str, Estimate]:
        return {name: estimate(some, name, column, name in rates) for name, column in columns.items()}

    return Summary(
        number,
        rows[0].backbone,
        rows[0].configuration,
        len(rows),
        values=estimated(rows),
        by_kind={kind: estimated(some) for kind, some in members.items()},
        over_seeds={name: _over_seeds(rows, name, column) for name, column in columns.items()},
        spent={name: fmean(row.spent.get(name, 0.0) for row in rows) for name in COSTS},
        by_set={name: estimated(some) for name, some in sets.items()} if apart else {},
    )


def estimate(rows: Sequence[Row], name: str, column: Column, as_rate: bool) -> Estimate:
    """Return the rate or the mean of a column.

    Edits of one picture are kept together, and kinds have means of their own, see :mod:`headrouter.experiments.statistics`.
    """
    there = [row for row in rows if counts(row, name, column)]
    values = [_number(row, name) for row in there]
    kinds = [row.kind for row in there]
    return (rate if as_rate else mean)(values, pictures_of(there), kinds)  # type: ignore[arg-type]


def _over_seeds(rows: Sequence[Row], name: str, column: Column) -> float:
    there = [row for row in rows if counts(row, name, column)]
    return spread_over_seeds([_number(row, name) for row in there], [row.seed for row in there])


def _number(row: Row, name: str) -> float:
    value = row.values[name]
    return math.nan if value is None else float(value)
