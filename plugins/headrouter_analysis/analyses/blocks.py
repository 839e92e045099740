"""Rank blocks by their maps of a word, scored against the mask of the word's object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from headrouter.errors import InvalidInputError
from headrouter.experiments.statistics import Estimate, mean
from headrouter.prompts.prompt import Prompt
from headrouter_analysis.methods.depth import TextShare
from headrouter_analysis.methods.maps import AttentionMaps, Direction
from headrouter_analysis.runs import Runs, batches
from headrouter_analysis.statistics import Array, area_under_curve, overlap


@final
@dataclass(frozen=True, eq=False)
class Masked:
    """Holds a picture, the mask of its object, and the word for it.

    Attributes:
        picture: RGB.
        mask: ``[height, width]`` of the picture, in [0, 1]; 1 is the object.
        prompt: Prompt of the picture.
        word: The object's word in the prompt.
        seed: Of the noise that the picture is shown under.
    """

    picture: Image.Image
    mask: Array
    prompt: str
    word: str
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a mask that does not fit, and a word that is not there."""
        width, height = self.picture.size
        if self.mask.shape != (height, width):
            given = "x".join(map(str, self.mask.shape[::-1]))
            raise InvalidInputError(f"`mask` must be as large as its picture, {width}x{height} (got {given}).")
        if not (np.isfinite(self.mask).all() and self.mask.min() >= 0 and self.mask.max() <= 1):
            raise InvalidInputError("`mask` must hold values from 0 (elsewhere) to 1 (the object).")
        if not 0 < self.mask.mean() < 1:
            raise InvalidInputError("`mask` must have some of the picture inside and some outside; this one has not.")
        Prompt(self.prompt, {}).find(self.word)

    def coverage(self, grid: tuple[int, int]) -> Array:
        """Return the share of each cell of a grid that the mask covers, flattened row by row."""
        cells = functional.adaptive_avg_pool2d(torch.from_numpy(self.mask.astype(np.float64))[None, None], grid)
        return np.asarray(cells.flatten().numpy())


@final
@dataclass(frozen=True, slots=True)
class BlockScore:
    """Holds how well one block's maps find objects, and its text's share of attention, mean over pictures."""

    block: int
    path: str
    stream: str
    area_under_curve: Estimate
    overlap: Estimate
    text_share: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "block": self.block,
            "path": self.path,
            "stream": self.stream,
            "auc": self.area_under_curve.as_dict(),
            "iou": self.overlap.as_dict(),
            "text": self.text_share.as_dict(),
        }


def rank_blocks(
    runs: Runs,
    items: Sequence[Masked],
    *,
    direction: Direction = "T2I",
    threshold: float | None = None,
    batch: int = 8,
    progress: bool = False,
) -> list[BlockScore]:
    """Rank blocks by the area under the curve of their maps against the masks, best first.

    A map is the mean over heads and over the noise levels of the grid at which the model is shown the picture.

    Args:
        runs: Model and settings.
        items: Pictures, masks and words.
        direction: Text keys (T2I) or image keys (I2T).
        threshold: Of the overlap, relative to a map's maximum, as local blending cuts it; None takes each map's best.
        batch: Pictures at a time.
        progress: Show a bar.
    """
    if not items:
        raise InvalidInputError("`pictures` must be at least 1.")
    if threshold is not None and not 0 < threshold < 1:
        raise InvalidInputError(f"`threshold` must lie between 0 and 1 (got {threshold}).")
    areas, overlaps, shares = [], [], []
    for part in batches(items, batch, "pictures", progress=progress):
        method = AttentionMaps(direction=direction, words=tuple((item.word,) for item in part), keep=("block",))
        sampled = runs.look(
            [item.picture for item in part],
            [item.prompt for item in part],
            [item.seed for item in part],
            [method, TextShare()],
        )
        shares += sampled.diagnostics[1]["text_share"].nanmean(dim=1).sum(dim=-1).tolist()
        for item, maps in zip(part, sampled.diagnostics[0]["attention_maps"][:, 0], strict=True):
            coverage = item.coverage((maps.shape[1], maps.shape[2]))
            scores = maps.flatten(1).double().numpy()
            areas.append([area_under_curve(one, coverage) for one in scores])
            overlaps.append([overlap(one, coverage, threshold) for one in scores])
    measured = [np.array(values) for values in (areas, overlaps, shares)]
    scored = [
        BlockScore(site.index, site.path, site.stream, *(mean(measure[:, site.index]) for measure in measured))
        for site in runs.backbone.sites
    ]
    return sorted(scored, key=lambda score: -score.area_under_curve.value)


def drawn_masks(count: int, seed: int = 0) -> list[Masked]:
    """Return scenes of the drawn world with their true masks and the word of their shape."""
    from headrouter_shapes.world.caption import VARIANTS, caption
    from headrouter_shapes.world.render import mask, render
    from headrouter_shapes.world.scene import sample_scene
    from headrouter_shapes.world.vocabulary import PLURALS

    generator, items = np.random.default_rng((seed, 5)), []
    for number in range(count):
        scene = sample_scene(generator)
        text = caption(scene, int(generator.integers(VARIANTS)))
        word = scene.shape if scene.number == "one" else PLURALS[scene.shape]
        items.append(Masked(render(scene), mask(scene).astype(np.float64), text, word, seed * 1_000_003 + number))
    return items
