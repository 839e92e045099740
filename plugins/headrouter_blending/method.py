"""Local blending as a method, arXiv:2508.07519: x_e ← where(mask, x_e, x_r) on the latents after a step.

The mask is where image tokens attend to the words that differ: the source's words in the source's row, the target's in the edit's.
"""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.joint_attention import JointAttention
from headrouter.method import Method, MethodRun, Needs, Setting
from headrouter.moments import Moment
from headrouter.one_or_more import OneOrMore
from headrouter.prompt import Prompt
from headrouter.rows import Row
from headrouter_blending.given import MaskText, Ranking, mask_pixels, on_latents
from headrouter_blending.mask import blend_mask
from headrouter_blending.running_mean import StepMean


@final
class LocalBlend(Method):
    """Keep each edit the source outside a mask, in the first steps.

    A is the attention of image queries to the chosen words, from query and key as the model made them, whatever other methods
    replace: mean over heads, over the words' tokens, over the chosen blocks and over the steps so far. Each edit has a mask of its
    own with its source. It composes with any method and any place in the list gives the same mask.
    """

    blend: Moment = Field(
        0.5,
        description="First steps of those that are run, or fraction of them, after which it blends; above 0 at least one. "
        "Published: 0.5.",
    )
    theta: float = Field(
        0.3, ge=0, lt=1, description="θ, share of a map's maximum above which a place is in the mask. Published: 0.3."
    )
    source_words: OneOrMore[str] | None = Field(
        None, description="Words of the source prompt, whole; by default those where the target says something else."
    )
    target_words: OneOrMore[str] | None = Field(
        None, description="Words of every target prompt, whole; by default those where the source says something else."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Numbers of the joint blocks whose attention counts, all of them."
    )
    ranking: Ranking | None = Field(
        None,
        min_length=1,
        description="Block numbers best first, or a JSON file with them under `blocks`; by default the model's own ranking.",
    )
    top: int = Field(5, ge=1, description="How many blocks of the ranking count. Published: 5.")
    mask: MaskText | None = Field(
        None,
        repr=False,
        description="A mask of your own instead, of the picture's size: white where the edit may differ.",
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.blocks is not None and self.ranking is not None:
            raise ValueError("`blocks` and `ranking` both choose blocks; give one")
        words = [
            name for name in ("source_words", "target_words", "blocks", "ranking") if getattr(self, name) is not None
        ]
        if self.mask is not None and words:
            raise ValueError(
                f"`mask` leaves no use for {', '.join(f'`{name}`' for name in words)}; leave one or the other out"
            )
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Words must have positions, unless the mask is the user's."""
        return frozenset({"joint-attention", "prompt-words"} if self.mask is None else set())

    def begin(self, setting: Setting) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source to keep.
            InvalidInputError: a word that is not in the prompt, no words to look for, a block that the model does not have, no
                ranking of its blocks, or a mask of another size than the picture.
        """
        if any(setting.source_of(row) is None for row in setting.rows):
            raise IncompatibleError(
                "Local blending keeps the source outside a mask, and this run has no source. Edit a picture, or leave "
                "`local-blend` out."
            )
        if self.mask is not None:
            return _GivenRun(self, setting, _checked(mask_pixels(self.mask), setting.size))
        return _WordsRun(self, setting, _blocks(self, setting))


class _BlendRun(MethodRun):
    """Blending with some mask, and the evidence of it."""

    def __init__(self, method: LocalBlend, setting: Setting, blocks: Sequence[int] = ()):
        self._steps = setting.first_steps(method.blend)
        self._needs = Needs(attention=frozenset(blocks), latents=True, pair=True)
        self._setting = setting
        self._masks: dict[tuple[int, int], Tensor] = {}

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def _blended(self, step: int, latents: Tensor, rows: Sequence[Row], masks: Mapping[Row, Tensor]) -> Tensor:
        """x_e ← where(mask, x_e, x_r) for each edit that has a mask."""
        source_of = {row.image: index for index, row in enumerate(rows) if row.is_source}
        blended = list(latents.unbind(0))
        for index, row in enumerate(rows):
            if row in masks:
                blended[index] = torch.where(masks[row], latents[index], latents[source_of[row.image]])
                self._masks[self._setting.edit_number(row), step] = masks[row].cpu()
        return torch.stack(blended)

    def evidence(self) -> Mapping[str, Tensor]:
        """``masks`` [edit, step, row, column] of the latents: 1 where the edit was kept, 0 where the source; NaN without a mask."""
        if not self._masks:
            return {}
        shape = next(iter(self._masks.values())).shape
        masks = torch.full((self._setting.edits, self._setting.steps, *shape), torch.nan)
        for place, mask in self._masks.items():
            masks[place] = mask.float()
        return {"masks": masks}


@final
class _GivenRun(_BlendRun):
    """With the user's mask."""

    def __init__(self, method: LocalBlend, setting: Setting, pixels: Tensor):
        super().__init__(method, setting)
        self._pixels = pixels

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        mask = on_latents(self._pixels.to(latents.device), (latents.shape[-2], latents.shape[-1]))
        blended = self._blended(step, latents, rows, {row: mask for row in rows if not row.is_source})
        return latents if bool(mask.all()) else blended  # untouched latents keep what the trajectory remembers


@final
class _WordsRun(_BlendRun):
    """With masks that attention to words gives."""

    def __init__(self, method: LocalBlend, setting: Setting, blocks: Sequence[int]):
        super().__init__(method, setting, blocks)
        self._theta = method.theta
        self._words: dict[Row, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._maps: dict[tuple[Row, int], StepMean] = {}
        for row in setting.rows:
            source = setting.source_of(row)
            if not row.is_source and source is not None:
                self._words[row] = _words(method, source.prompt, row.prompt)

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        return event.original() is event

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        original = event.original()
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                for side, where, positions in zip((0, 1), (item.pair, place), self._words[item.row], strict=True):
                    if positions:
                        mean = self._maps.setdefault((item.row, side), StepMean())
                        mean.add(event.clock.step, _map(original, where, positions))
        return output

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        size = (latents.shape[-2], latents.shape[-1])
        masks = {}
        for row in rows:
            maps = [self._maps[row, side].mean() for side in (0, 1) if (row, side) in self._maps]
            if maps:  # none until the model was first asked: a trajectory that is fully controlled does not ask
                masks[row] = blend_mask(torch.stack(maps), size, self._theta)
        return self._blended(step, latents, rows, masks) if masks else latents


def _map(event: JointAttention, row: int, positions: tuple[int, ...]) -> Tensor:
    """A of one row, mean over heads and over the text keys at ``positions``: [rows, columns] of the token grid."""
    total = sum(block.sum(dim=(0, 2)) for _, block in event.text_to_image(row, positions))
    assert isinstance(total, Tensor)
    return total.view(event.layout.grid) / (event.query.shape[1] * len(positions))


def _words(method: LocalBlend, source: Prompt, target: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Text positions to look at in the source's row and in the edit's."""
    in_source = _positions("source_words", method.source_words, source, target)
    in_target = _positions("target_words", method.target_words, target, source)
    if not in_source and not in_target:
        raise InvalidInputError(
            f"Local blending finds no words to look for: the prompts {source.text!r} and {target.text!r} do not differ. Give "
            "`source_words`, `target_words` or a `mask`."
        )
    return in_source, in_target


def _positions(name: str, words: tuple[str, ...] | None, prompt: Prompt, other: Prompt) -> tuple[int, ...]:
    if words is None:
        return prompt.new_positions(other)
    found: set[int] = set()
    for word in words:
        try:
            positions = prompt.find(word)
        except InvalidInputError as error:
            raise InvalidInputError(str(error).replace("`word`", f"`method.{name}`", 1)) from error
        if not positions:
            raise InvalidInputError(
                f"`method.{name}` {word!r} has no token that the model attends to in {prompt.text!r}."
            )
        found.update(positions)
    return tuple(sorted(found))


def _blocks(method: LocalBlend, setting: Setting) -> tuple[int, ...]:
    """The blocks whose attention counts."""
    ranking = setting.word_blocks if method.ranking is None else method.ranking
    chosen = ranking[: method.top] if method.blocks is None else method.blocks
    if not chosen:
        raise InvalidInputError(
            "`method.blocks`: nobody has ranked the blocks of this model by how well their attention shows where a word acts. Give "
            "block numbers, or a `ranking` (a JSON file with the list `blocks`, best first), or a `mask`."
        )
    count, name = len(setting.sites), "blocks" if method.blocks is not None else "ranking"
    unknown = [block for block in chosen if not 0 <= block < count]
    if unknown:
        raise InvalidInputError(f"`method.{name}` {unknown} do not exist: the model has joint blocks 0 to {count - 1}.")
    return tuple(dict.fromkeys(chosen))


def _checked(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    """A mask of the size of the picture."""
    height, width = pixels.shape
    if size is not None and (width, height) != size:
        raise InvalidInputError(
            f"`method.mask` must have the size of the picture, {size[0]}x{size[1]} pixels, got {width}x{height}. Resize the mask."
        )
    return pixels
