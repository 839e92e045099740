"""Write what a search found: the front as a table and a figure, presets, and an experiment to measure them elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from headrouter.errors import InvalidInputError
from headrouter.experiments.file.entries import data_entry, entry_of
from headrouter.experiments.metric import Column
from headrouter.experiments.results import tables
from headrouter.experiments.results.paired import compare_all
from headrouter.experiments.results.plots import bar, png_of
from headrouter.experiments.results.rows import is_rate
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.files import write_whole
from headrouter.plugins.preset_file import write_preset
from headrouter_tune.file import BASE, Search
from headrouter_tune.front import non_dominated
from headrouter_tune.presets import command_of, preset_of, slug
from headrouter_tune.running import Outcome, Point

FOLDER: Final = "tune"
_SHOWN: Final = 5


@dataclass(frozen=True)
class Found:
    """Holds what is said of a search.

    Attributes:
        headings, rows: Of the table of the front.
        remarks: Sentences below it, the caution first.
        files: That were written.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str]
    files: Sequence[Path]


def write_results(search: Search, outcome: Outcome, folder: Path) -> Found:
    """Write the results of a search into ``tune/`` of its run folder."""
    place = folder / FOLDER
    (place / "presets").mkdir(parents=True, exist_ok=True)
    for old in (place / "presets").glob("*.yaml"):
        old.unlink()  # of a front that may have moved
    front = non_dominated(outcome.points, search.objectives)
    columns = {one.name: one.column for one in search.objectives}
    rows = [row for point in outcome.points for row in point.rows]
    rates = {name for name in columns if is_rate(rows, name)}
    headings, lines = _table(front, rows, columns, rates)
    files = [write_whole(place / "pareto.png", _figure(search, outcome.points, front, rates))]
    caution, remarks = _caution(outcome, place), list(_remarks(outcome, front))
    for point in front:
        name = slug(f"{search.experiment.name}-{point.number:03d}")
        path = place / "presets" / f"{name}.yaml"
        try:
            preset = preset_of(point.configuration, name, _provenance(search, outcome, point, rates))
            remark = f"{command_of(point.configuration, path.as_posix())}\n\n{caution}"
            files.append(write_preset(path, preset, remark))
        except InvalidInputError as error:
            remarks.append(f"There is no preset of {point.configuration.name!r}: {error} It is in best.yaml.")
    files.append(write_whole(place / "best.yaml", _experiment(search, outcome, front, caution).encode()))
    text = [f"# {search.experiment.name}, {_counted(search, outcome)}", "", *tables.table(headings, lines), ""]
    text += [one for remark in (caution, *remarks) for one in (remark, "")]
    files.append(write_whole(place / "front.md", "\n".join([*text, "![The front](pareto.png)", ""]).encode()))
    return Found(headings, lines, [caution, *remarks], files)


def _table(
    front: Sequence[Point], rows: Sequence[CellRecord], columns: Mapping[str, Column], rates: set[str]
) -> tuple[list[str], list[list[str]]]:
    paired = {one.configuration: one for one in compare_all(rows, BASE, columns)}
    lines = []
    for point in front:
        name = point.configuration.name
        minus = tables.paired_cells(paired[name], columns, rates)[1:] if name in paired else ["–"] * len(columns)
        lines.append([f"{point.number}", name, *_values(point, columns, rates), *minus])
    headings = [tables.heading(name, column) for name, column in columns.items()]
    differences = [f"{one} minus {BASE}" for one in tables.paired_headings(columns, rates)[1:]]
    return ["#", "configuration", *headings, *differences], lines


def _values(point: Point, columns: Mapping[str, Column], rates: set[str]) -> list[str]:
    pairs = zip(columns.items(), point.estimates, strict=True)
    return [tables.cell(estimate, column, name in rates) for (name, column), estimate in pairs]


def _figure(search: Search, points: Sequence[Point], front: Sequence[Point], rates: set[str]) -> bytes:
    """Return a PNG: all points in grey, those of the front with their intervals, the base as a star."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    scales = [100.0 if one.name in rates else one.column.scale for one in search.objectives]
    figure = Figure(figsize=(7.5, 5.5), layout=ConstrainedLayoutEngine())
    axes = figure.subplots()
    for point in points:
        if point.values is None:
            continue
        (x, wide), (y, high) = (bar(one, scale) for one, scale in zip(point.estimates, scales, strict=True))
        if point in front:
            axes.errorbar(x, y, xerr=wide, yerr=high, fmt="o", color="C0", linewidth=0.8, alpha=0.8, zorder=3)
            axes.annotate(str(point.number), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=9, zorder=4)
        else:
            axes.plot(x, y, "o", color="grey", markersize=4, alpha=0.6)
        if point.number == 0:
            axes.plot(x, y, "*", color="C1", markersize=14, zorder=5, label=BASE)
    ordered = [tuple(scale * one.value for one, scale in zip(point.estimates, scales, strict=True)) for point in front]
    if ordered:
        axes.plot(*zip(*ordered, strict=True), "--", color="C0", linewidth=1, label="the front")
    across, up = (
        f"{tables.heading(one.name, one.column)}{', per cent' if one.name in rates else ''}"
        f"{' (lower is better)' if one.direction == 'minimize' else ''}"
        for one in search.objectives
    )
    axes.set(xlabel=across, ylabel=up)
    axes.set_title(f"{search.experiment.name}: {len(points)} configurations, 95 % intervals")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:  # below, where it hides no interval
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False)
    return png_of(figure)


def _counted(search: Search, outcome: Outcome) -> str:
    edits = max((len(point.rows) for point in outcome.points), default=0)
    return f"{len(outcome.points)} configurations, {edits} edits each, of {search.experiment.dataset_name}"


def _caution(outcome: Outcome, place: Path) -> str:
    best = (place / "best.yaml").as_posix()
    return (
        f"These figures are optimistic: they are the best of {len(outcome.points)} configurations, on the very edits that chose "
        f"them. Measure them on edits that the search has not seen: point `dataset` of {best} at others, then "
        f"`headrouter experiment run {best} -o measured`."
    )


def _remarks(outcome: Outcome, front: Sequence[Point]) -> Iterator[str]:
    if failed := [point for point in outcome.points if point.failed]:
        names = ", ".join(f"{point.configuration.name} ({point.failed})" for point in failed[:_SHOWN])
        yield f"{len(failed)} configurations have failed edits and no values: {names}. `headrouter experiment status` says why."
    if undefined := [point for point in outcome.points if not point.failed and point.values is None]:
        names = ", ".join(point.configuration.name for point in undefined[:_SHOWN])
        yield f"{len(undefined)} configurations have no value of an objective, which no edit of theirs defines: {names}."
    if outcome.impossible:
        words, reason = next(iter(outcome.impossible.items()))
        yield f"{len(outcome.impossible)} suggestions cannot be run, such as {words}: {reason}"
    if outcome.exhausted:
        yield (
            f"The search ended early: it suggested nothing new any more ({outcome.repeated} suggestions were of configurations "
            "that were run already)."
        )
    if not front:
        yield "No configuration has values of both objectives."


def _provenance(search: Search, outcome: Outcome, point: Point, rates: set[str]) -> str:
    columns = {one.name: one.column for one in search.objectives}
    pairs = zip(columns.items(), _values(point, columns, rates), strict=True)
    figures = ", ".join(f"{tables.heading(name, column)} {value}" for (name, column), value in pairs)
    backbone = f"{point.configuration.backbone_name} {point.configuration.model}"
    text = f"headrouter tune, best of {_counted(search, outcome)}, {backbone}: {figures}"
    return " ".join(text.split())


def _experiment(search: Search, outcome: Outcome, front: Sequence[Point], caution: str) -> str:
    """Return the file of an experiment with the base and the front."""
    base = outcome.points[0]
    chosen = [base, *(point for point in front if point is not base)]
    entries = [entry for point in chosen if (entry := entry_of(point.configuration))]
    plain = search.experiment.describe()
    data = {
        "name": f"{search.experiment.name}-best",
        **data_entry(plain["dataset"], plain["metrics"]),
        "seeds": plain["seeds"],
        **{key: entries[0][key] for key in ("model", "backbone") if entries},
        "configurations": [one for entry in entries for one in entry["configurations"]],
        "baseline": BASE,
    }
    comment = "".join(f"# {line}\n" for line in caution.split(". "))
    return comment + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
