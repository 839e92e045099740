"""Draw a sheet of an edit: pictures, maps of the new words, the mask, and the heads that were amplified."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from torch import Tensor

from headrouter.editing.result import Result
from headrouter.prompts.words import fold

_SIDE = 3.0
"""Inches of a panel."""
_OPACITY = 0.75
"""Share of a map over the picture under it."""


def edit_sheet(result: Result, prompt: int = 0, words: Sequence[str] | None = None) -> Image.Image:
    """Draw a sheet of one edit.

    Args:
        result: The edit.
        prompt: Number of the edit, in the order of ``images``.
        words: Whose maps to draw; by default the words that the source prompt does not have, at most two.

    Raises:
        InvalidInputError: a word that is not in the prompt, or no such prompt.
    """
    result.refuse_unknown(prompt)
    several = len(set(result.seeds)) > 1
    of, own = (f" (seed {result.seeds[number]})" if several else "" for number in (0, prompt))
    panels: list[tuple[str, Any]] = [
        ("source", result.source),
        (f"reconstruction, unsteered{of}", result.reconstruction),
    ]
    panels.append((f"edit: {result.prompts[prompt].text}{own}", result.images[prompt]))
    if result.has("text_maps"):
        new = result.prompts[prompt].new_words(result.source_prompt)
        once = [word for place, word in enumerate(new) if fold(word) not in map(fold, new[:place])]
        chosen = once[:2] if words is None else words
        panels += [(f"where {word!r} acts", (result.images[prompt], result.text_map(word, prompt))) for word in chosen]
    if result.has_mask(prompt):
        panels.append(("mask: white where the edit may act", result.mask(prompt)))
    weights = result.head_weights[prompt] if result.has("head_weights") else None
    figure = Figure(
        figsize=(_SIDE * len(panels), _SIDE * (2.2 if weights is not None else 1.15)),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.12),
    )
    upper, *lower = figure.subfigures(2 if weights is not None else 1, 1, squeeze=False)[:, 0]
    for axes, (title, content) in zip(np.ravel(upper.subplots(1, len(panels))), panels, strict=True):
        _picture(axes, title, content)
    if weights is not None:
        _heads(lower[0], weights, result.recorded("dissimilarity")[prompt])
    return drawn(figure)


def word_shares(result: Result, word: str, prompt: int = 0) -> npt.NDArray[np.float32]:
    """Return how much a word acts on each pixel of the picture, as a share of the largest.

    Raises:
        InvalidInputError: a word that is not in the prompt, no such prompt, or an edit without maps.
    """
    grid = Image.fromarray(result.text_map(word, prompt).numpy())
    pixels = np.asarray(grid.resize(result.source.size, Image.Resampling.BILINEAR))
    shares: npt.NDArray[np.float32] = pixels / pixels.max()
    return shares


def word_picture(result: Result, word: str, prompt: int = 0) -> Image.Image:
    """Draw the map of a word over its edit, in the size of the picture: bright where the word acts.

    Raises:
        InvalidInputError: see :func:`word_shares`.
    """
    colours = matplotlib.colormaps["magma"](word_shares(result, word, prompt))[..., :3]
    return Image.blend(
        result.images[prompt].convert("RGB"), Image.fromarray((colours * 255).astype(np.uint8)), _OPACITY
    )


def heads_picture(result: Result, prompt: int = 0) -> Image.Image:
    """Draw the weight of each attention head of one edit, and how far its source and edit are apart.

    Raises:
        InvalidInputError: no such prompt, or no method weighed heads.
    """
    result.refuse_unknown(prompt)
    figure = Figure(figsize=(3 * _SIDE, 1.3 * _SIDE), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.12))
    _heads(figure, result.head_weights[prompt], result.recorded("dissimilarity")[prompt])
    return drawn(figure)


def drawn(figure: Figure) -> Image.Image:
    """Return a figure as a picture."""
    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    canvas.print_png(buffer)
    return Image.open(buffer).convert("RGB")


def _picture(axes: Any, title: str, content: Any) -> None:
    """Draw a picture, or a picture under a map of a word."""
    picture, grid = content if isinstance(content, tuple) else (content, None)
    width, height = picture.size
    axes.imshow(picture.convert("RGB"), extent=(0, width, height, 0), interpolation="nearest")
    if grid is not None:
        share = (grid / grid.max()).numpy()
        axes.imshow(
            share,
            extent=(0, width, height, 0),
            interpolation="bilinear",
            cmap="magma",
            alpha=_OPACITY,
            vmin=0,
            vmax=1,
        )
    axes.set_title(_wrapped(title), fontsize=9, parse_math=False)  # a prompt may have dollar signs
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("lightgray")  # a white edge of a mask is seen


def _heads(figure: Any, weights: Tensor, dissimilarity: Tensor) -> None:
    """Draw layers by heads, the mean weight of each, and steps by layers, the distance of source and edit."""
    maps = (
        (torch.nanmean(weights, dim=0), "head", "layer", "weight of each head, mean over the steps"),
        (dissimilarity.nanmean(dim=2).T, "step", "layer", "1 − cosine of source and edit, mean over the heads"),
    )
    for axes, (values, x, y, title) in zip(figure.subplots(1, 2), maps, strict=True):
        image = axes.imshow(values.numpy(), cmap="viridis", aspect="auto")
        axes.set_xlabel(x, fontsize=8)
        axes.set_ylabel(y, fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.locator_params(integer=True)
        figure.colorbar(image, ax=axes).ax.tick_params(labelsize=7)


def _wrapped(title: str, width: int = 38) -> str:
    lines = [""]
    for word in title.split():
        joined = f"{lines[-1]} {word}".strip()
        lines[-1:] = [joined] if len(joined) <= width else [lines[-1], word]
    return "\n".join(lines[:3])
