"""Print the plan of an experiment."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrouter.cli.table import table, terminal_width

if TYPE_CHECKING:
    from headrouter.experiments.planning.plan import Plan
    from headrouter.experiments.planning.simulation import Simulation

_HEADINGS = ("group", "configuration", "cells", "model calls", "rows ≤", "time")


def print_plan(plan: "Plan", workers: int = 1) -> None:
    """Print what an experiment will do, and what is known of its time and memory."""
    print("\n".join(_lines(plan, workers)))


def _lines(plan: "Plan", workers: int) -> Iterator[str]:
    experiment = plan.experiment
    seeds = ", ".join(map(str, experiment.seeds))
    yield (
        f"{experiment.name}: {len(plan.items)} edits of {plan.pictures} pictures of the data set {experiment.dataset_name}, "
        f"seeds {seeds}; metrics: {', '.join(experiment.metrics) or 'none'}; baseline: {experiment.baseline or 'none'}."
    )
    yield ""
    rows = [
        [
            one.configuration.group,
            one.configuration.name,
            f"{one.cells:,}",
            f"{one.calls:,}",
            f"{one.rows:,}",
            duration(one.seconds),
        ]
        for one in plan.configurations
    ]
    total = ["", "all", f"{plan.cells:,}", f"{plan.calls:,}", f"{plan.rows:,}", duration(plan.seconds)]
    yield table(_HEADINGS, [*rows, total], terminal_width())
    yield ""
    yield "Model calls: each picture alone with its edits; an inversion counts once, a seed only where noise is drawn."
    if plan.pace is None:
        yield "Time is unknown: nothing was run yet. `--measure` runs an edit or two of each model."
    else:
        share = (
            ""
            if plan.seconds is None or workers == 1
            else f"; by {workers} workers {duration(plan.seconds / workers)} at best"
        )
        yield f"Time: {plan.pace.origin}, by edits of the configuration, else by rows of its model; without metrics{share}."
    known = [f"{group} {bytes_ / 2**30:.2f} GiB" for group, bytes_ in plan.memory.items() if bytes_]
    if known:
        yield f"Memory of the weights alone, for each worker: {', '.join(known)}."
    for one in experiment.published:
        for row, reason in one.choice.missing.items():
            yield f"Missing of {one.table.title}: {one.table.rows[row].system}: {reason}"
    if experiment.skipped:
        yield f"\n{len(experiment.skipped)} of the matrix cannot be run, and are left out:"
        yield from (f"- {one.group} {one.name}: {one.reason}" for one in experiment.skipped)


def print_simulation(found: "Simulation") -> None:
    """Print what becomes of the workers' time in a simulated run."""
    print("\n".join(_simulated(found)))


def _simulated(found: "Simulation") -> Iterator[str]:
    workers = "1 worker" if found.workers == 1 else f"{found.workers} workers"
    loads = sum(slot.loading > 0 for slot in found.slots)
    yield f"\nSimulated with {workers}, {len(found.slots):,} shares, {loads} loads of a model:\n"
    total = found.workers * found.seconds
    rows = [
        [name, f"{seconds / 3600:,.2f}", f"{seconds / total:.2%}"]
        for name, seconds in sorted(found.shares.items(), key=lambda one: -one[1])
    ]
    yield table(
        ("spent on", "hours of workers", "share"), [*rows, ["all", f"{found.hours:,.2f}", ""]], terminal_width()
    )
    price = f", at {found.price:g} an hour {found.price * found.hours:,.0f}" if found.price else ""
    yield f"\nEfficiency {found.efficiency:.3f}; {duration(found.seconds)} for all; {found.hours:,.1f} hours of workers{price}."
    yield f"Most of the time beside model calls goes into {found.bottleneck}."


def duration(seconds: float | None) -> str:
    """Return a time for people.

    >>> duration(4.2), duration(90), duration(7300), duration(None)
    ('4 s', '1:30 min', '2:01 h', '?')
    """
    if seconds is None:
        return "?"
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes}:{int(seconds % 60):02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"
