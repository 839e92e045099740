"""Draw the figures of the analyses."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headrouter.imaging.picture import save_picture
from headrouter_analysis.analyses.blocks import BlockScore
from headrouter_analysis.profile import Profile

_DPI: Final = 100
MOST_PANELS: Final = 400
"""Panels of one figure; more cannot be distinguished."""


def save(figure: Any, path: Path) -> Path:
    """Draw a figure into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with Image.open(buffer) as picture:
        return save_picture(picture.convert("RGB"), path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.06))


def overlays(picture: Image.Image, maps: Tensor, rows: Sequence[str], columns: Sequence[str], title: str) -> Any:
    """Draw maps over a picture, a panel for each row and column, one colour bar for each row.

    Args:
        picture: Picture under the maps.
        maps: ``[rows, columns, h, w]``, probabilities.
        rows, columns: Their titles, for instance words and blocks.
        title: Of the figure.
    """
    width, height = picture.size
    figure = _figure(1.35 * (1 + len(columns)) + 1.6, 1.4 * height / width * len(rows) + 0.7)
    panels = figure.subplots(len(rows), 1 + len(columns), squeeze=False)
    for row, name in enumerate(rows):
        low, high = float(maps[row].min()), float(maps[row].max())
        for column, heading in enumerate(["picture", *columns]):
            axes = panels[row, column]
            axes.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
            if column:
                shown = axes.imshow(
                    maps[row, column - 1].numpy(),
                    extent=(0, width, height, 0),
                    interpolation="bilinear",
                    cmap="magma",
                    alpha=0.75,
                    vmin=low,
                    vmax=high if high > low else low + 1e-12,
                )
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(heading, fontsize=8)
        panels[row, 0].set_ylabel(name, fontsize=9)
        bar = figure.colorbar(shown, ax=list(panels[row]), shrink=0.85, pad=0.01)
        bar.ax.tick_params(labelsize=6)
        bar.ax.yaxis.get_offset_text().set_fontsize(6)
        bar.formatter.set_powerlimits((-2, 3))
    figure.suptitle(title, fontsize=9)
    return figure


def depth(share: Tensor, words: Mapping[str, Sequence[int]], title: str) -> Any:
    """Draw attention of image tokens to the text, by block: all text, the words, and each word.

    Args:
        share: ``[blocks, text positions]``, probabilities.
        words: Text positions of each word.
        title: Of the figure.
    """
    figure = _figure(8.6, 3.3)
    whole, single = figure.subplots(1, 2)
    blocks = np.arange(len(share))
    everything = sorted({position for positions in words.values() for position in positions})
    whole.plot(blocks, share.sum(dim=1).numpy(), "k-o", markersize=3, label="all text tokens")
    whole.plot(blocks, share[:, everything].sum(dim=1).numpy(), "C0-o", markersize=3, label="tokens of these words")
    for number, (word, positions) in enumerate(words.items()):
        style = ("-", "--", ":")[number // 10 % 3]
        single.plot(blocks, share[:, list(positions)].mean(dim=1).numpy(), f"C{number % 10}{style}", label=word)
    for axes, heading in ((whole, "share of the text"), (single, "mean share of one token of a word")):
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel("block", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", integer=True)
    whole.legend(fontsize=7)
    single.legend(fontsize=6, ncols=1 + len(words) // 14, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=9)
    return figure


def ranking(scores: Sequence[BlockScore], title: str, overlap_name: str) -> Any:
    """Draw area under the curve, overlap and text share of each block with their intervals, in order."""
    ordered = sorted(scores, key=lambda score: score.block)
    figure = _figure(max(7.5, 0.42 * len(ordered) + 3), 3.0)
    place = np.arange(len(ordered))
    drawn = (
        ("area_under_curve", "C0", "area under the curve"),
        ("overlap", "C1", overlap_name),
        ("text_share", "C2", "share of attention that text gets"),
    )
    for axes, (name, colour, heading) in zip(figure.subplots(1, 3), drawn, strict=True):
        intervals = [getattr(score, name) for score in ordered]
        means = np.array([one.value for one in intervals])
        errors = np.array([[one.value - one.low for one in intervals], [one.high - one.value for one in intervals]])
        axes.bar(place, means, color=colour, yerr=errors.clip(min=0), error_kw={"lw": 1})
        axes.set_xticks(place, [str(score.block) for score in ordered], fontsize=7)
        axes.set_xlabel("block", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylim(0, 1)
        axes.set_title(heading, fontsize=9)
    figure.axes[0].axhline(0.5, color="grey", lw=0.8, ls="--")
    figure.suptitle(title, fontsize=9)
    return figure


def head_heat_map(profile: Profile, title: str) -> Any:
    """Draw semantics by heads: d̃ over the heads of each layer, and moves beyond the expected."""
    semantics, blocks, heads = profile.mean.shape
    figure = _figure(min(16.0, 2.6 + 0.16 * blocks * heads), 1.6 + 0.5 * semantics)
    normal = torch.stack([profile.normalised(name) for name in profile.semantics]).flatten(1)
    special = profile.specificity.flatten(1)
    limit = max(float(special.abs().max()), 1e-9)
    drawn = (
        (normal, "viridis", 0.0, 1.0, "1 − cosine, stretched over the heads of each layer"),
        (special, "RdBu_r", -limit, limit, "logarithm, without the semantic's mean and the head's mean"),
    )
    for axes, (values, colours, low, high, heading) in zip(figure.subplots(2, 1), drawn, strict=True):
        image = axes.imshow(values.numpy(), cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(semantics), profile.semantics, fontsize=7)
        axes.set_xticks(
            np.arange(blocks) * heads + (heads - 1) / 2, [str(block) for block in range(blocks)], fontsize=7
        )
        for edge in range(1, blocks):
            axes.axvline(edge * heads - 0.5, color="white" if colours == "viridis" else "black", lw=0.8)
        axes.set_title(heading, fontsize=9)
        figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=6)
    figure.axes[1].set_xlabel(f"layer, {heads} heads each", fontsize=8)
    figure.suptitle(f"{title}: mean over {profile.pairs} pairs of each semantic", fontsize=9)
    return figure


def differences(rows: Sequence[tuple[str, float, float, float]], title: str, axis: str) -> Any:
    """Draw differences with their intervals, one line each; zero is marked."""
    figure = _figure(6.4, 1.1 + 0.27 * len(rows))
    axes = figure.subplots()
    place = np.arange(len(rows))[::-1]
    means = np.array([row[1] for row in rows])
    errors = np.array([[row[1] - row[2] for row in rows], [row[3] - row[1] for row in rows]]).clip(min=0)
    axes.errorbar(means, place, xerr=errors, fmt="o", markersize=4, capsize=2, color="C0")
    axes.axvline(0, color="grey", lw=0.8, ls="--")
    axes.set_yticks(place, [row[0] for row in rows], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(axis, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=9)
    return figure
