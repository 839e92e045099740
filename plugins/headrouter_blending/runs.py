"""Blend in one run, by the user's mask, by words, or by the difference between edit and source."""

from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.methods.method import MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMean
from headrouter_blending.given import on_latents
from headrouter_blending.mask import departure, departure_mask


class _BlendRun(MethodRun):
    """Blends by the mask of a subclass, and records it."""

    def __init__(self, blend: StepOrFraction, context: RunContext, blocks: Sequence[int] = ()):
        self._steps = context.first_steps(blend)
        self._needs = Needs(attention=frozenset(blocks), latents=True, pair="conditional")
        self._context = context
        self._masks: dict[tuple[int, int], Tensor] = {}

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def _blended(self, step: int, latents: Tensor, rows: Sequence[Row], masks: Mapping[Row, Tensor]) -> Tensor:
        """Return x_e ← where(mask, x_e, x_r) for each edit that has a mask."""
        source_of = {row.image: index for index, row in enumerate(rows) if row.is_source}
        blended = list(latents.unbind(0))
        for index, row in enumerate(rows):
            if row in masks:
                blended[index] = torch.where(masks[row], latents[index], latents[source_of[row.image]])
                self._masks[self._context.edit_number(row), step] = masks[row]
        return torch.stack(blended)

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``masks`` [edit, step, row, column] of the latents: 1 edit, 0 source, NaN without a mask."""
        if not self._masks:
            return {}
        shape = next(iter(self._masks.values())).shape
        masks = torch.full(
            (self._context.edits, self._context.steps, *shape), torch.nan, dtype=torch.float32, device="cpu"
        )
        for place, mask in self._masks.items():
            masks[place] = mask.cpu().float()
        return {"masks": masks}


@final
class GivenRun(_BlendRun):
    """Blends by the user's mask."""

    def __init__(self, blend: StepOrFraction, context: RunContext, pixels: Tensor):
        """Begin with ``pixels``, bool [height, width] of the picture."""
        super().__init__(blend, context)
        self._pixels, self._whole = pixels, False
        self._mask: Tensor | None = None

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        if self._mask is None:
            mask = on_latents(self._pixels, (latents.shape[-2], latents.shape[-1]))
            self._mask, self._whole = mask.to(latents.device), bool(mask.all())
        blended = self._blended(step, latents, rows, {row: self._mask for row in rows if not row.is_source})
        return latents if self._whole else blended  # untouched latents keep what the inversion remembers


@final
class WordsRun(_BlendRun):
    """Blends by masks from attention to words."""

    def __init__(
        self,
        blend: StepOrFraction,
        context: RunContext,
        blocks: Sequence[int],
        mask_of: Callable[[Tensor, tuple[int, int]], Tensor],
        words: Mapping[Row, tuple[tuple[int, ...], tuple[int, ...]]],
    ):
        """Begin with a function and with words.

        Args:
            mask_of: Gives the mask of a size from maps [maps, rows, columns].
            words: Text positions of each edit, in the source's row and in the edit's.
        """
        super().__init__(blend, context, blocks)
        self._mask_of, self._words = mask_of, words
        self._maps: dict[tuple[Row, int], StepMean] = {}

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        keys: dict[int, set[int]] = {}
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None and event.original() is event:
                for where, positions in zip((item.pair, place), self._words[item.row], strict=True):
                    keys.setdefault(where, set()).update(positions)
        return {place: sorted(positions) for place, positions in keys.items()}

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        original = event.original()
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                for side, where, positions in zip((0, 1), (item.pair, place), self._words[item.row], strict=True):
                    if positions:
                        mean = self._maps.setdefault((item.row, side), StepMean())
                        mean.add(event.step_info.step, _map(original, where, positions))
        return output

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        size = (latents.shape[-2], latents.shape[-1])
        masks = {}
        for row in rows:
            maps = [self._maps[row, side].mean() for side in (0, 1) if (row, side) in self._maps]
            if maps:  # none until the model was first asked: an inversion that is fully controlled does not ask
                masks[row] = self._mask_of(torch.stack(maps), size)
        return self._blended(step, latents, rows, masks) if masks else latents


@final
class DifferenceRun(_BlendRun):
    """Blends by masks where an edit's attention output departs from its source's."""

    def __init__(self, blend: StepOrFraction, context: RunContext, blocks: Sequence[int], theta: float):
        """Begin with the sites in ``blocks``; ``theta`` is the share of the largest departure to exceed."""
        super().__init__(blend, context, blocks)
        self._theta = theta
        self._maps: dict[Row, StepMean] = {}

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        image = event.layout.image
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                found = departure(output[item.pair][:, image], output[place][:, image])
                self._maps.setdefault(item.row, StepMean()).add(event.step_info.step, found.view(event.layout.grid))
        return output

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        size = (latents.shape[-2], latents.shape[-1])
        maps = {row: self._maps[row].mean() for row in rows if row in self._maps}
        masks = {row: departure_mask(found, size, self._theta) for row, found in maps.items()}
        return self._blended(step, latents, rows, masks) if masks else latents


def _map(event: JointAttention, row: int, positions: tuple[int, ...]) -> Tensor:
    """Return A of one row, mean over heads and over the text keys at ``positions``: [rows, columns]."""
    total = sum(block.sum(dim=(0, 2)) for _, block in event.text_to_image(row, positions))
    assert isinstance(total, Tensor)
    return total.view(event.layout.grid) / (event.query.shape[1] * len(positions))
