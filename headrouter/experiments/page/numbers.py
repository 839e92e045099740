"""Turn summaries and paired differences into plain data: the numbers of ``table.csv``, with the text of the tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from headrouter.experiments.metric import Column
from headrouter.experiments.radar import KINDS
from headrouter.experiments.results.paired import compare_all
from headrouter.experiments.results.rows import Row, is_rate
from headrouter.experiments.results.summary import COSTS, Summary, estimate, summarise
from headrouter.experiments.results.tables import cell, heading, shown
from headrouter.experiments.statistics import Estimate

Name: TypeAlias = tuple[str, str]
"""Backbone and name of a configuration."""
Plain: TypeAlias = list[Any] | None
"""Mean, low, high, number of values, text; an end of an interval that is infinite, and all without values, is None."""
ALL = "all"
"""Stands among kinds for all edits."""


@dataclass(frozen=True)
class Numbers:
    """Holds the numbers of a report, each list in the order of ``columns``.

    Attributes:
        columns: That are shown, by name.
        rates: Those of truths.
        kinds: Of edits, in their order.
        means: By configuration and kind.
        differences: To the baseline, by configuration and kind.
        radar: By configuration and one of the eight kinds.
        costs: Mean cost of an edit by configuration: model calls, rows, seconds, processor seconds.
    """

    columns: Mapping[str, Column]
    rates: set[str]
    kinds: Sequence[str]
    means: Mapping[Name, Mapping[str, list[Plain]]]
    differences: Mapping[Name, Mapping[str, list[Plain]]]
    radar: Mapping[Name, Mapping[str, list[Plain]]]
    costs: Mapping[Name, list[float]]

    def headings(self) -> list[dict[str, Any]]:
        """Describe the columns."""
        return [
            {
                "name": name,
                "heading": heading(name, column),
                "points": heading(name, replace(column, unit="points") if name in self.rates else column),
                "better": column.better,
                "rate": name in self.rates,
                "given": column.given,
                "scale": 100.0 if name in self.rates else column.scale,
                "digits": column.digits,
            }
            for name, column in self.columns.items()
        ]


def numbers_of(rows: Sequence[Row], columns: Mapping[str, Column], baseline: str, radar: Mapping[str, str]) -> Numbers:
    """Compute the numbers of finished edits.

    Args:
        rows: The edits.
        columns: Of all metrics.
        baseline: Name of the configuration that the others are compared with; empty for none.
        radar: For kinds of edit, the one of the eight kinds that it counts as.
    """
    rates = {name for name in columns if is_rate(rows, name)}
    summaries = summarise(rows, columns)
    there = shown(summaries, columns)
    kinds = list(dict.fromkeys(row.kind for row in rows))
    members: dict[Name, list[Row]] = {}
    for row in rows:
        members.setdefault((row.backbone, row.configuration), []).append(row)
    return Numbers(
        there,
        rates,
        kinds,
        {(one.backbone, one.configuration): _means(one, there, rates) for one in summaries},
        _differences(rows, kinds, baseline, there, rates),
        {name: _radar(some, there, rates, radar) for name, some in members.items()},
        {(one.backbone, one.configuration): [one.spent[cost] for cost in COSTS] for one in summaries},
    )


def _means(one: Summary, columns: Mapping[str, Column], rates: set[str]) -> dict[str, list[Plain]]:
    return {
        kind: [plain(values[name], column, name in rates) for name, column in columns.items()]
        for kind, values in {ALL: one.values, **one.by_kind}.items()
    }


def _differences(
    rows: Sequence[Row], kinds: Sequence[str], baseline: str, columns: Mapping[str, Column], rates: set[str]
) -> dict[Name, dict[str, list[Plain]]]:
    found: dict[Name, dict[str, list[Plain]]] = {}
    points = {name: replace(one, scale=100.0, digits=1) if name in rates else one for name, one in columns.items()}
    for kind in (ALL, *kinds):
        for one in compare_all([row for row in rows if kind in (ALL, row.kind)], baseline, columns):
            values = [plain(one.values[name], column, rate=False) for name, column in points.items()]
            found.setdefault((one.backbone, one.configuration), {})[kind] = values
    return found


def _radar(
    rows: Sequence[Row], columns: Mapping[str, Column], rates: set[str], radar: Mapping[str, str]
) -> dict[str, list[Plain]]:
    found = {}
    for kind in KINDS:
        if own := [row for row in rows if radar.get(row.kind) == kind]:
            estimates = (estimate(own, name, column, name in rates) for name, column in columns.items())
            found[kind] = [
                plain(one, columns[name], name in rates) for name, one in zip(columns, estimates, strict=True)
            ]
    return found


def plain(value: Estimate, column: Column, rate: bool) -> Plain:
    """Return an estimate as plain data, unscaled, with the text that tables have; None without values.

    >>> plain(Estimate(0.5, 0.25, 0.75, 12), Column("success"), rate=True)
    [0.5, 0.25, 0.75, 12, '50 [25, 75]']
    """
    if not value.count:
        return None
    ends = [one if math.isfinite(one) else None for one in (value.value, value.low, value.high)]
    return [*ends, value.count, cell(value, column, rate)]
