"""Draw figures for papers. They are a column wide, vectors, legible without colour, and have no title."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headrouter.experiments.metric import Column
from headrouter.experiments.results.plots import axes_of, bar, fits
from headrouter.experiments.results.summary import Summary
from headrouter.experiments.results.tables import heading
from headrouter.files import write_whole

WIDTH: Final = 3.35
"""Inches: 85 mm, the column of a page in two columns."""
FORMATS: Final[Mapping[str, Mapping[str, Any]]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": 600},
}
_STYLE: Final = {
    "font.size": 7,
    "axes.linewidth": 0.5,
    "lines.linewidth": 0.6,
    "lines.markersize": 4.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "legend.fontsize": 6,
    "svg.hashsalt": "headrouter",
    "pdf.fonttype": 42,
}
_MARKERS: Final = "osD^vP*Xh<>pd8"
_GREYS: Final = ("black", "white", "0.65")


def trade_off(summaries: Sequence[Summary], columns: Mapping[str, Column], rates: set[str], stem: Path) -> list[Path]:
    """Draw the edit across and preservation up, with 95 % intervals, and return the files; none without two columns.

    A picture that has not changed at all is left out: it would squeeze all others.

    Args:
        summaries: Of one backbone, or of the other editors.
        columns: Those that are shown.
        rates: Columns of truths, in per cent.
        stem: Path of the files without their ending.
    """
    chosen = axes_of(columns, rates)
    if chosen is None:
        return []
    scales = [100.0 if name in rates else columns[name].scale for name in chosen]
    drawn = [one for one in summaries if fits(one, chosen, columns)]

    def draw(axes: Any) -> None:
        for number, one in enumerate(drawn):
            (x, across), (y, up) = (bar(one.values[name], scale) for name, scale in zip(chosen, scales, strict=True))
            axes.errorbar(x, y, xerr=across, yerr=up, ecolor="0.6", label=one.configuration, **_mark(number))
        names = [f"{heading(name, columns[name])}{', per cent' if name in rates else ''}" for name in chosen]
        axes.set(xlabel=names[0], ylabel=names[1])

    return _saved(draw, len(drawn), stem)


def by_kind(summaries: Sequence[Summary], columns: Mapping[str, Column], rates: set[str], stem: Path) -> list[Path]:
    """Draw the column of the edit for each kind, and return the files; none for a single kind.

    A picture that has not changed at all is left out.
    """
    chosen = axes_of(columns, rates)
    kinds = list(summaries[0].by_kind)
    if chosen is None or len(kinds) < 2:
        return []
    name, drawn = chosen[0], [one for one in summaries if fits(one, chosen, columns)]
    scale = 100.0 if name in rates else columns[name].scale

    def draw(axes: Any) -> None:
        for number, one in enumerate(drawn):
            shift = 0.6 * ((number + 0.5) / len(drawn) - 0.5)
            there = [
                (place, one.by_kind[kind][name]) for place, kind in enumerate(kinds) if one.by_kind[kind][name].count
            ]
            x, y = [scale * found.value for _, found in there], [place + shift for place, _ in there]
            axes.plot(x, y, linestyle="none", label=one.configuration, **_mark(number))
        axes.set_yticks(range(len(kinds)), kinds)
        axes.invert_yaxis()
        axes.grid(axis="x", color="0.85", linewidth=0.4)
        axes.set(xlabel=f"{heading(name, columns[name])}{', per cent' if name in rates else ''}")

    return _saved(draw, len(drawn), stem, height=0.9 + 0.28 * len(kinds))


def _mark(number: int) -> dict[str, Any]:
    """Return marker and fill of a configuration: shape and grey tell more of them apart than any two would alone."""
    fill = _GREYS[(number // len(_MARKERS) + number) % len(_GREYS)]
    style = {"color": "black", "markerfacecolor": fill, "markeredgecolor": "black", "markeredgewidth": 0.5}
    return {"marker": _MARKERS[number % len(_MARKERS)], **style}


def _saved(draw: Any, lines: int, stem: Path, height: float = 2.4) -> list[Path]:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(_STYLE):
        whole = height + 0.11 * lines
        figure = Figure(figsize=(WIDTH, whole), layout=ConstrainedLayoutEngine())
        axes = figure.subplots()
        draw(axes)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=1, frameon=False)
        files = []
        for ending, options in FORMATS.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, **options)
            files.append(write_whole(stem.with_name(f"{stem.name}.{ending}"), buffer.getvalue()))
    return files
