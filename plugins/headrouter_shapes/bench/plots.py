"""Draw results: a sheet of edits for each configuration, and success against preservation for all."""

import io
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image, ImageDraw, ImageFont

from headrouter.files import write_whole
from headrouter.imaging.picture import save_picture
from headrouter_shapes.bench.measures import Pictures
from headrouter_shapes.bench.records import Records
from headrouter_shapes.bench.report import Summary
from headrouter_shapes.bench.sets import KINDS, Case
from headrouter_shapes.evaluate import CAP
from headrouter_shapes.world.drawing import PICTURE_SIZE
from headrouter_shapes.world.render import render_array

_ZOOM: Final = 2
_TILE: Final = PICTURE_SIZE * _ZOOM
_GAP: Final = 6
_LINE: Final = 14
_MARGIN: Final = 84
_MOST: Final = 10
_LONG: Final = 40
_RIGHT: Final = "darkgreen"
_WRONG: Final = "firebrick"
_FONT: Final = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


def save_case_sheet(records: Records, cases: Sequence[Case], path: Path) -> None:
    """Draw source, edit and truth, a column for each edit, at most ten of a kind.

    The line above a column says what should change, and whether it did.
    """
    bands = [some for some in _by_kind(cases, _MOST) if some]
    columns = max(len(some) for some in bands)
    height = 2 * _LINE + 3 * _TILE + _GAP
    sheet, pen, font = _sheet(_MARGIN + columns * (_TILE + _GAP), 2 * _LINE + len(bands) * height)
    configuration = records.configuration
    pen.text((_GAP, 4), f"{configuration.backbone_name}: {configuration.name}", "black", font)
    for band, some in enumerate(bands):
        top = 2 * _LINE + band * height
        for row, label in enumerate((some[0].kind, "source", "edit", "truth")):
            y = top if row == 0 else top + 2 * _LINE + (row - 1) * _TILE + _TILE // 2
            pen.text((_GAP, y), label, "black", font)
        for column, case in enumerate(some):
            x = _MARGIN + column * (_TILE + _GAP)
            words, colour = ("right", _RIGHT) if records.rows[case.number].measures.success else ("wrong", _WRONG)
            pen.text((x, top), case.change, "black", font)
            pen.text((x, top + _LINE), f"{case.number}: {words}", colour, font)
            for row, picture in enumerate(_pictures(case, [records])):
                sheet.paste(_enlarged(picture), (x, top + 2 * _LINE + row * _TILE))
    save_picture(sheet, path)


def save_comparison(compared: Sequence[Records], cases: Sequence[Case], path: Path) -> None:
    """Draw the same edits by several configurations, a column for each edit, a row for each configuration.

    Source first, truth last. A right edit has a green frame, a wrong one a red one.
    """
    shown = [case for some in _by_kind(cases, 2) for case in some]
    labels = ["source", *(records.configuration.name for records in compared), "truth"]
    font = ImageFont.truetype(_FONT, 10)
    margin = 2 * _GAP + round(max(font.getlength(label) for label in labels))
    step = _TILE + 2 * _GAP
    sheet, pen, font = _sheet(margin + len(shown) * step, 2 * _LINE + _GAP + len(labels) * step)
    for row, label in enumerate(labels):
        pen.text((_GAP, 2 * _LINE + _GAP + row * step + _TILE // 2), label, "black", font)
    for column, case in enumerate(shown):
        x = margin + column * step
        pen.text((x, 2), case.kind, "black", font)
        pen.text((x, 2 + _LINE), case.change, "black", font)
        for row, picture in enumerate(_pictures(case, compared)):
            y = 2 * _LINE + _GAP + row * step
            if 0 < row <= len(compared):
                right = compared[row - 1].rows[case.number].measures.success
                pen.rectangle((x - 3, y - 3, x + _TILE + 2, y + _TILE + 2), _RIGHT if right else _WRONG)
            sheet.paste(_enlarged(picture), (x, y))
    save_picture(sheet, path)


def _by_kind(cases: Sequence[Case], most: int) -> list[list[Case]]:
    return [[case for case in cases if case.kind == kind][:most] for kind in KINDS]


def _pictures(case: Case, records: Sequence[Records]) -> list[Pictures]:
    """Return source, edit and truth."""
    source, truth = render_array([case.source, case.target])
    return [source, *(one.picture(case) for one in records), truth]


def _sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw, ImageFont.FreeTypeFont]:
    sheet = Image.new("RGB", (width, height), "white")
    return sheet, ImageDraw.Draw(sheet), ImageFont.truetype(_FONT, 10)


def _enlarged(picture: Pictures) -> Image.Image:
    return Image.fromarray(picture).resize((_TILE, _TILE), Image.Resampling.NEAREST)


def save_frontier(summaries: Sequence[Summary], path: Path) -> None:
    """Plot success against preservation, a point with both intervals for each configuration, a panel for each backbone.

    Configurations of one sweep have one colour. The source itself, where nothing has changed at all, is off the plot.
    """
    panels = [list(group) for _, group in itertools.groupby(summaries, key=lambda one: one.backbone)]
    columns = 1 if max((len(one.configuration) for one in summaries), default=0) > _LONG else 2
    lines = math.ceil(max(map(len, panels), default=0) / columns)
    figure = Figure(figsize=(7.5 * len(panels), 5.5 + 0.18 * lines), layout=ConstrainedLayoutEngine())
    for axes, members in zip(np.ravel(figure.subplots(1, len(panels), squeeze=False)), panels, strict=True):
        shown = [one for one in members if one.success.count and one.preservation.value < CAP]
        families = list(dict.fromkeys(_family(one.configuration) for one in shown))
        for one in shown:
            family = _family(one.configuration)
            colour = "grey" if family.startswith("reference ") else f"C{families.index(family) % 10}"
            x, y = 100 * one.success.value, one.preservation.value
            low, high = (y if math.isinf(end) else end for end in (one.preservation.low, one.preservation.high))
            across = [[x - 100 * one.success.low], [100 * one.success.high - x]]
            axes.errorbar(
                x,
                y,
                xerr=across,
                yerr=[[y - low], [high - y]],
                fmt="o",
                color=colour,
                alpha=0.8,
                linewidth=0.8,
                label=f"{one.number}  {one.configuration}",
            )
            axes.annotate(str(one.number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
        if shown:
            axes.set_ylim(
                min(one.preservation.value for one in shown) - 3, max(one.preservation.value for one in shown) + 3
            )
        axes.set_xlim(100 * min((one.success.low for one in shown), default=0) - 3, 103)
        axes.set_xlabel("success, per cent")
        axes.set_ylabel("preservation, dB")
        axes.set_title(f"{members[0].backbone}, {max(one.success.count for one in members)} edits")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=columns, frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_whole(path, buffer.getvalue())


def _family(configuration: str) -> str:
    """Return the name of a configuration without the values that were swept.

    >>> _family("rf guided stop=10 guidance=5")
    'rf guided'
    """
    return re.split(r" \S+=", configuration)[0]
