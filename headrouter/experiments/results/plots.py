"""Plot one column of the results against another, a point with both intervals for each configuration."""

import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headrouter.experiments.metric import Column
from headrouter.experiments.results.summary import Summary
from headrouter.experiments.results.tables import heading, shown
from headrouter.experiments.statistics import Estimate
from headrouter.files import write_whole

_LONG: Final = 40
_UNCHANGED: Final = 99.0
"""Decibels that stand for a picture that is unchanged; its point is left out, since it would squeeze all others."""


def axes_of(columns: Mapping[str, Column], rates: set[str]) -> tuple[str, str] | None:
    """Choose columns for the plot: the edit across, preservation up; None if there is but one column.

    Across is the first rate, or the first column; up is the first column called preservation, or the next one that has a better
    side.
    """
    good = [name for name, column in columns.items() if column.better]
    across = next((name for name in good if name in rates), good[0] if good else None)
    up = [name for name in good if name != across and name not in rates]
    if across is None or not up:
        return None
    return across, next((name for name in up if columns[name].title == "preservation"), up[0])


def save_frontier(summaries: Sequence[Summary], columns: Mapping[str, Column], rates: set[str], path: Path) -> bool:
    """Plot the columns of :func:`axes_of`, a panel for each backbone; returns whether there was something to plot.

    Configurations of one sweep have one colour. A picture that has not changed at all is off the plot.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    chosen = axes_of(shown(summaries, columns), rates)
    if chosen is None:
        return False
    panels = [list(group) for _, group in itertools.groupby(summaries, key=lambda one: one.backbone)]
    legend = 1 if max((len(one.configuration) for one in summaries), default=0) > _LONG else 2
    lines = math.ceil(max(map(len, panels), default=0) / legend)
    figure = Figure(figsize=(7.5 * len(panels), 5.5 + 0.18 * lines), layout=ConstrainedLayoutEngine())
    for axes, members in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, members, chosen, columns, rates)
        axes.set_title(f"{members[0].backbone or 'other editors'}, {max(one.edits for one in members)} edits")
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=legend, frameon=False)
    write_whole(path, png_of(figure))
    return True


def png_of(figure: Any) -> bytes:
    """Return a figure of Matplotlib as the content of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _panel(
    axes: Any, members: Sequence[Summary], chosen: tuple[str, str], columns: Mapping[str, Column], rates: set[str]
) -> None:
    scales = [100.0 if name in rates else columns[name].scale for name in chosen]
    drawn = [one for one in members if fits(one, chosen, columns)]
    families = list(dict.fromkeys(_family(one.configuration) for one in drawn))
    for one in drawn:
        family = _family(one.configuration)
        colour = "grey" if family.startswith("reference ") else f"C{families.index(family) % 10}"
        (x, across), (y, up) = (bar(one.values[name], scale) for name, scale in zip(chosen, scales, strict=True))
        label = f"{one.number}  {one.configuration}"
        axes.errorbar(x, y, xerr=across, yerr=up, fmt="o", color=colour, alpha=0.8, linewidth=0.8, label=label)
        axes.annotate(str(one.number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
    names = [f"{heading(name, columns[name])}{', per cent' if name in rates else ''}" for name in chosen]
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.grid(alpha=0.3)


def fits(one: Summary, chosen: Sequence[str], columns: Mapping[str, Column]) -> bool:
    """Return whether a configuration has values of the chosen columns, none of them that of an unchanged picture."""
    values = [(one.values[name], columns[name]) for name in chosen]
    return all(found.count and not (column.unit == "dB" and found.value >= _UNCHANGED) for found, column in values)


def bar(estimate: Estimate, scale: float) -> tuple[float, list[list[float]]]:
    """Return a value and how far its interval reaches to both sides; an infinite one is not drawn."""
    ends = [end if math.isfinite(end) else estimate.value for end in (estimate.low, estimate.high)]
    reach = [[scale * (estimate.value - ends[0])], [scale * (ends[1] - estimate.value)]]
    return scale * estimate.value, reach


def _family(configuration: str) -> str:
    """Return the name of a configuration without the values that were swept.

    >>> _family("rf guided stop=10 guidance=5")
    'rf guided'
    """
    return re.split(r" \S+=", configuration)[0]
