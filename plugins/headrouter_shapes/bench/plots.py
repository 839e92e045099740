"""Pictures of results: a sheet of edits for each configuration, and success against preservation for all of them."""

import io
import itertools
import math
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
from headrouter.picture import save_picture
from headrouter_shapes.bench.records import Records
from headrouter_shapes.bench.report import Summary
from headrouter_shapes.bench.sets import KINDS, Case
from headrouter_shapes.drawing import PICTURE_SIZE
from headrouter_shapes.render import render_array

_ZOOM: Final = 2
_TILE: Final = PICTURE_SIZE * _ZOOM
_GAP: Final = 6
_LINE: Final = 14
_MARGIN: Final = 84
_MOST: Final = 10
_FONT: Final = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
CAP: Final = 99.0
"""PSNR of equal pictures, dB."""


def save_case_sheet(records: Records, cases: Sequence[Case], path: Path) -> None:
    """Draw source, edit and truth below each other, a column for each edit, a band for each kind: at most ten a kind.

    The line above a column says what should change, and whether it did.
    """
    bands = [(kind, [case for case in cases if case.kind == kind][:_MOST]) for kind in KINDS]
    bands = [(kind, some) for kind, some in bands if some]
    columns = max(len(some) for _, some in bands)
    height = 2 * _LINE + 3 * _TILE + _GAP
    size = (_MARGIN + columns * (_TILE + _GAP), 2 * _LINE + len(bands) * height)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(_FONT, 10)
    configuration = records.configuration
    pen.text((_GAP, 4), f"{configuration.backbone_name}: {configuration.name}", "black", font)
    for band, (kind, some) in enumerate(bands):
        top = 2 * _LINE + band * height
        for row, label in enumerate((kind, "source", "edit", "truth")):
            y = top if row == 0 else top + 2 * _LINE + (row - 1) * _TILE + _TILE // 2
            pen.text((_GAP, y), label, "black", font)
        sources, truths = (render_array([getattr(case, side) for case in some]) for side in ("source", "target"))
        for column, (case, source, truth) in enumerate(zip(some, sources, truths, strict=True)):
            x = _MARGIN + column * (_TILE + _GAP)
            right = records.rows[case.number].measures.success
            words, colour = ("right", "darkgreen") if right else ("wrong", "firebrick")
            pen.text((x, top), case.change, "black", font)
            pen.text((x, top + _LINE), f"{case.number}: {words}", colour, font)
            for row, picture in enumerate((source, records.picture(case), truth)):
                tile = Image.fromarray(picture).resize((_TILE, _TILE), Image.Resampling.NEAREST)
                sheet.paste(tile, (x, top + 2 * _LINE + row * _TILE))
    save_picture(sheet, path)


def save_frontier(summaries: Sequence[Summary], path: Path) -> None:
    """Plot success against what was kept, a point with both intervals for each configuration, a panel for each backbone.

    The source itself, where nothing has changed at all, is off the plot.
    """
    panels = [list(group) for _, group in itertools.groupby(summaries, key=lambda one: one.backbone)]
    figure = Figure(figsize=(7.5 * len(panels), 7), layout=ConstrainedLayoutEngine())
    for axes, members in zip(np.ravel(figure.subplots(1, len(panels), squeeze=False)), panels, strict=True):
        shown = [one for one in members if one.success.count and one.kept.value < CAP]
        for one in shown:
            colour = "grey" if one.configuration.startswith("reference ") else f"C{one.number % 10}"
            x, y = 100 * one.success.value, one.kept.value
            low, high = (y if math.isinf(end) else end for end in (one.kept.low, one.kept.high))
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
            axes.set_ylim(min(one.kept.value for one in shown) - 3, max(one.kept.value for one in shown) + 3)
        axes.set_xlim(100 * min((one.success.low for one in shown), default=0) - 3, 103)
        axes.set_xlabel("success, per cent")
        axes.set_ylabel("PSNR of what must not change, dB")
        axes.set_title(f"{members[0].backbone}, {max(one.success.count for one in members)} edits")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_whole(path, buffer.getvalue())
