"""Write tables of summaries and paired differences: Markdown, CSV and rows for a terminal."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrouter.experiments.metric import Column
from headrouter.experiments.results.paired import Paired
from headrouter.experiments.results.summary import COSTS, SET, Summary
from headrouter.experiments.statistics import Estimate

_COSTS = {"calls": "calls", "rows": "rows", "seconds": "s/edit", "processor": "CPU s/edit"}


def shown(summaries: Sequence[Summary], columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns that have a value in any of the summaries."""
    return {
        name: column
        for name, column in columns.items()
        if any(name in one.values and one.values[name].count for one in summaries)
    }


def heading(name: str, column: Column) -> str:
    """Return the heading of a column: its title, or its name, and its unit."""
    return f"{column.title or name}{f', {column.unit}' if column.unit else ''}"


def cell(estimate: Estimate, column: Column, rate: bool) -> str:
    """Return a mean with its interval: ``27.5 [26.1, 28.9]``; a rate in per cent: ``50 [24, 76]``."""
    if not estimate.count:
        return "–"
    scale, digits = (100.0, 0) if rate else (column.scale, column.digits)
    value, low, high = (scale * one for one in (estimate.value, estimate.low, estimate.high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def headings(columns: Mapping[str, Column]) -> list[str]:
    """Return the headings of :func:`cells`."""
    return ["#", "configuration", *itertools.starmap(heading, columns.items()), *_COSTS.values()]


def cells(summary: Summary, columns: Mapping[str, Column], rates: set[str]) -> list[str]:
    """Return one line of the table of all edits."""
    spent = summary.spent
    return [
        str(summary.number),
        summary.configuration,
        *(cell(summary.values[name], column, name in rates) for name, column in columns.items()),
        f"{spent['calls']:.0f}",
        f"{spent['rows']:.0f}",
        f"{spent['seconds']:.2f}",
        f"{spent['processor']:.2f}",
    ]


def paired_headings(columns: Mapping[str, Column], rates: set[str]) -> list[str]:
    """Return the headings of :func:`paired_cells`."""
    rate = {name: replace(one, unit="points") if name in rates else one for name, one in columns.items()}
    return ["configuration", *itertools.starmap(heading, rate.items())]


def paired_cells(paired: Paired, columns: Mapping[str, Column], rates: set[str]) -> list[str]:
    """Return one line of the table of differences; of rates in points, with a digit behind the point."""
    points = {name: replace(one, scale=100.0, digits=1) if name in rates else one for name, one in columns.items()}
    return [paired.configuration, *(cell(paired.values[name], one, rate=False) for name, one in points.items())]


def markdown(
    summaries: Sequence[Summary],
    columns: Mapping[str, Column],
    rates: set[str],
    title: str,
    paired: Sequence[Paired] = (),
) -> str:
    """Return tables for each backbone: all edits, rates by kind of edit, and the differences in ``paired``."""
    columns = shown(summaries, columns)
    lines = [f"# {title}", "", "Rates in per cent; all with their 95 % confidence intervals."]
    for backbone, group in itertools.groupby(summaries, key=lambda one: one.backbone):
        members = list(group)
        count = max(one.edits for one in members)
        name = backbone or "other editors"
        lines += ["", f"## {name}, {count} edits", ""]
        lines += table(headings(columns), [cells(one, columns, rates) for one in members])
        for each in members[0].by_set:
            own = [replace(one, values=one.by_set[each]) for one in members]
            count = max(found.count for one in own for found in one.values.values())
            lines += ["", f"{each}, {count} edits, {name}:", ""]
            heads, skipped = headings(columns), len(_COSTS)
            lines += table(heads[:-skipped], [cells(one, columns, rates)[:-skipped] for one in own])
        for measure in _by_kind(columns, rates):
            kinds = list(members[0].by_kind)
            lines += ["", f"{heading(measure, columns[measure])} by kind of edit, {name}:", ""]
            lines += table(
                ("#", "configuration", *kinds),
                [
                    [
                        str(one.number),
                        one.configuration,
                        *(cell(one.by_kind[kind][measure], columns[measure], measure in rates) for kind in kinds),
                    ]
                    for one in members
                ],
            )
        if compared := [one for one in paired if one.backbone == backbone]:
            lines += ["", f"Minus {compared[0].baseline}, edit by edit, {name}:", ""]
            lines += table(paired_headings(columns, rates), [paired_cells(one, columns, rates) for one in compared])
    return "\n".join(lines) + "\n"


def _by_kind(columns: Mapping[str, Column], rates: set[str]) -> list[str]:
    """Return the column that is shown by kind: the first rate, or the first column."""
    return [next((name for name in columns if name in rates), next(iter(columns)))] if columns else []


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; what would break a line or a cell is escaped."""
    lines = (heads, ["---"] * len(heads), *rows)
    return [f"| {' | '.join(_escaped(one) for one in line)} |" for line in lines]


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def as_csv(summaries: Sequence[Summary], columns: Mapping[str, Column]) -> str:
    """Return a line for each configuration, kind and column: mean, interval, number of values.

    The kind ``all`` stands for all edits, ``pie-bench: all`` for those of one of several data sets.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["backbone", "configuration", "kind", "column", "mean", "low", "high", "count", "between seeds"])
    for one in summaries:
        sets = {f"{name}{SET}all": values for name, values in one.by_set.items()}
        for kind, values in {"all": one.values, **sets, **one.by_kind}.items():
            for name in values:
                found = values[name]
                between = one.over_seeds[name] if kind == "all" else ""
                numbers = [found.value, found.low, found.high, found.count, between]
                writer.writerow([one.backbone, one.configuration, kind, name, *numbers])
        for name in COSTS:
            writer.writerow([one.backbone, one.configuration, "all", name, one.spent[name], "", "", one.edits, ""])
    return buffer.getvalue()
