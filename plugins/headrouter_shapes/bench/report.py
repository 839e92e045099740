"""Summarise rows in a table: success, preservation and cost of each configuration, with 95 % confidence intervals."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from statistics import fmean

from headrouter.experiments.statistics import Estimate, mean, rate
from headrouter_shapes.bench.paired import Paired
from headrouter_shapes.bench.records import Row
from headrouter_shapes.bench.sets import KINDS

HEADINGS = (
    *("#", "configuration", "success", "reads new", "others unchanged", "distance to truth, dB", "preservation, dB"),
    *("preservation of successes, dB", "calls", "rows", "s/edit", "CPU s/edit"),
)

PAIRED_HEADINGS = ("configuration", "success, points", "preservation where both succeed, dB", "distance to truth, dB")


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """Summarises a configuration's edits.

    Attributes:
        number: Of the configuration, in tables and plots.
        backbone, configuration: Names.
        success, reads_new, others_unchanged: Rates.
        truth, preservation: Mean PSNR, dB.
        preservation_of_successes: The same as preservation, of edits that succeed; an edit that changes nothing keeps everything.
        by_kind: Rate of success of each kind of edit.
        calls, rows, seconds, processor: Of an edit, on average.
    """

    number: int
    backbone: str
    configuration: str
    success: Estimate
    reads_new: Estimate
    others_unchanged: Estimate
    truth: Estimate
    preservation: Estimate
    preservation_of_successes: Estimate
    by_kind: Mapping[str, Estimate]
    calls: float
    rows: float
    seconds: float
    processor: float


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Put the rows of each configuration together, in their order."""
    grouped = itertools.groupby(rows, key=lambda row: (row.backbone, row.configuration))
    return [_summary(number, list(group)) for number, (_, group) in enumerate(grouped, 1)]


def _summary(number: int, rows: Sequence[Row]) -> Summary:
    sources = [row.source_number for row in rows]
    kinds = [row.kind for row in rows]
    right = [row for row in rows if row.measures.success]
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    return Summary(
        number,
        rows[0].backbone,
        rows[0].configuration,
        success=rate([row.measures.success for row in rows], sources, kinds),
        reads_new=rate([row.measures.reads_new for row in rows], sources, kinds),
        others_unchanged=rate([row.measures.others_unchanged for row in rows], sources, kinds),
        truth=mean([row.measures.truth for row in rows], sources, kinds),
        preservation=mean([row.measures.preservation for row in rows], sources, kinds),
        preservation_of_successes=mean(
            [row.measures.preservation for row in right],
            [row.source_number for row in right],
            [row.kind for row in right],
        ),
        by_kind={
            kind: rate([row.measures.success for row in some], [row.source_number for row in some])
            for kind, some in by_kind.items()
        },
        calls=fmean(row.spent.calls for row in rows),
        rows=fmean(row.spent.rows for row in rows),
        seconds=fmean(row.spent.seconds for row in rows),
        processor=fmean(row.spent.processor for row in rows),
    )


def cells(summary: Summary) -> list[str]:
    """Return one line of the table under :data:`HEADINGS`."""
    return [
        str(summary.number),
        summary.configuration,
        *(percent(one) for one in (summary.success, summary.reads_new, summary.others_unchanged)),
        *(decibels(one) for one in (summary.truth, summary.preservation, summary.preservation_of_successes)),
        f"{summary.calls:.0f}",
        f"{summary.rows:.0f}",
        f"{summary.seconds:.2f}",
        f"{summary.processor:.2f}",
    ]


def paired_cells(paired: Paired) -> list[str]:
    """Return one line of the table under :data:`PAIRED_HEADINGS`."""
    success = paired.success
    points = dataclasses.replace(success, value=100 * success.value, low=100 * success.low, high=100 * success.high)
    return [paired.configuration, decibels(points), decibels(paired.preservation), decibels(paired.truth)]


def percent(estimate: Estimate) -> str:
    """Return a rate with its interval, in per cent: ``50 [24, 76]``."""
    if not estimate.count:
        return "–"
    return f"{100 * estimate.value:.0f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def decibels(estimate: Estimate) -> str:
    """Return a mean with its interval: ``27.5 [26.1, 28.9]``."""
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]" if estimate.count else "–"


def markdown(summaries: Sequence[Summary], title: str, paired: Mapping[str, Sequence[Paired]] | None = None) -> str:
    """Return tables for each backbone: all edits, success by kind, and the comparisons in ``paired``."""
    lines = [f"# {title}", "", "Rates in per cent, PSNR in dB, each with its 95 % confidence interval."]
    for backbone, group in itertools.groupby(summaries, key=lambda one: one.backbone):
        members = list(group)
        count = max(one.success.count for one in members)
        lines += ["", f"## {backbone}, {count} edits", "", *_table(HEADINGS, [cells(one) for one in members])]
        by_kind = [
            [str(one.number), one.configuration, *(percent(one.by_kind[kind]) for kind in KINDS)] for one in members
        ]
        lines += ["", f"Success by kind of edit, {backbone}:", "", *_table(("#", "configuration", *KINDS), by_kind)]
        if compared := (paired or {}).get(backbone):
            title = f"Against {compared[0].baseline}, edit by edit, {backbone}; positive is better:"
            lines += ["", title, "", *_table(PAIRED_HEADINGS, [paired_cells(one) for one in compared])]
    return "\n".join(lines) + "\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (headings, ["---"] * len(headings), *rows)]
