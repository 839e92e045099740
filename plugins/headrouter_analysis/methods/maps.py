"""Map words to the picture, or the picture to words, by block, step and head.

T2I (text keys, image queries): A[i, j] of image query i and the word's keys j, the share of its attention that an image token gives
to the word. I2T (image keys, text queries): A[j, i] of the word's queries j and image key i, the share of its attention that the
word gives to an image token. Both are blocks of one softmax over all keys; neither is renormalised.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TokenLayout
from headrouter.attention.kernels import indices
from headrouter.attention.rows import Row
from headrouter.attention.step_mean import StepMean
from headrouter.config.step_or_fraction import StepOrFraction, window
from headrouter.errors import InvalidInputError
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter_analysis.methods.choice import chosen_blocks

Direction = Literal["T2I", "I2T"]
Axis = Literal["step", "block", "head"]
AXES: Final[tuple[Axis, ...]] = ("step", "block", "head")


@final
class AttentionMaps(Method):
    """Changes nothing; records maps of words of every edit's prompt, averaged over every axis that is not kept.

    A word of several tokens, in several tokenizers or at several places of the prompt, is the mean over its tokens. Averages are
    plain means: over the chosen heads of a block, over the chosen blocks, and over the steps (a step of several evaluations is the
    mean of them).
    """

    direction: Direction = Field("T2I", description="Text keys and image queries, or image keys and text queries.")
    words: tuple[tuple[str, ...], ...] = Field(
        (), description="Words of each edit; one entry serves every edit, and none takes every word of each prompt."
    )
    keep: tuple[Axis, ...] = Field(("block",), description="Axes that are not averaged: step, block, head.")
    blocks: tuple[int, ...] | None = Field(None, description="Joint layers that are looked at; all if not given.")
    heads: tuple[int, ...] | None = Field(None, description="Heads of each of them; all if not given.")
    start: StepOrFraction = Field(0, description="First step that is looked at, or fraction of the steps.")
    stop: StepOrFraction = Field(1.0, description="First step after those, or fraction.")
    most_megabytes: float = Field(1024, gt=0, description="Refuse to hold more than this, in MB of 10⁶ bytes.")

    @property
    def requires(self) -> frozenset[str]:
        """Require positions of words."""
        return frozenset({"joint-attention", "prompt-words"})

    def words_of(self, row: Row, number: int) -> tuple[str, ...]:
        """Return the words that are recorded for an edit, the ``number``-th of the run."""
        if not self.words:
            return row.prompt.different_words
        return self.words[number if len(self.words) > 1 else 0]

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            InvalidInputError: a word that is not in the prompt, words for another number of edits, a block or head that the model
                does not have.
        """
        if len(self.words) > 1 and len(self.words) != context.edits:
            raise InvalidInputError(
                f"`words` must have one entry, or one for each of the {context.edits} edits of the run (got {len(self.words)})."
            )
        return _AttentionMapsRun(self, context)


@final
class _AttentionMapsRun(MethodRun):
    def __init__(self, method: AttentionMaps, context: RunContext):
        self._method = method
        self._steps = window(method.start, method.stop, context.steps)
        self._blocks = chosen_blocks(method.blocks, context.sites)
        self._heads = _heads(method.heads, max(context.sites[block].heads for block in self._blocks))
        edits = [row for row in context.rows if not row.is_source]
        self._places = {row: _places(row, method.words_of(row, number)) for number, row in enumerate(edits)}
        self._numbers = {row: number for number, row in enumerate(edits)}
        self._sizes = {"step": len(self._steps), "block": len(self._blocks), "head": len(self._heads)}
        self._words = max((len(places) for places in self._places.values()), default=0)
        self._grid: tuple[int, int] | None = None
        self._means: dict[tuple[int, int, int], StepMean] = {}

    def needs(self, step: int) -> Needs:
        return Needs(attention=frozenset(self._blocks)) if step in self._steps else Needs()

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        if self._method.direction != "T2I":
            return {}
        edits = [(place, self._places[item.row]) for place, item in enumerate(event.rows) if item.is_edit]
        return {place: [position for word in words for position in word] for place, words in edits}

    def begin_forward(self, layout: TokenLayout) -> None:
        """Refuse what would be too large, before the first block runs."""
        steps, blocks, heads = (size if axis in self._method.keep else 1 for axis, size in self._sizes.items())
        tokens = layout.grid[0] * layout.grid[1]
        megabytes = 4e-6 * len(self._numbers) * self._words * blocks * heads * tokens * (1 + steps)
        if megabytes > self._method.most_megabytes:
            raise InvalidInputError(
                f"`keep` {list(self._method.keep)} would hold {megabytes:.0f} MB of maps ({self._words} words, {steps} steps, "
                f"{blocks} blocks, {heads} heads, {tokens} tokens each), more than `most_megabytes` "
                f"{self._method.most_megabytes:g}. Keep fewer axes, or name words, blocks or heads."
            )

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        self._grid, keep = event.layout.grid, self._method.keep
        step = self._steps.index(event.step_info.step) if "step" in keep else 0
        block = self._blocks.index(event.site.index) if "block" in keep else 0
        for place, item in enumerate(event.rows):
            if item.is_edit and self._places[item.row]:
                mean = self._means.setdefault((self._numbers[item.row], step, block), StepMean())
                mean.add(event.step_info.step, self._maps(event, place, self._places[item.row]))
        return output

    def _maps(self, event: JointAttention, place: int, places: list[tuple[int, ...]]) -> Tensor:
        """Return [words, heads, image tokens] of one row in one block; one head unless heads are kept."""
        positions = sorted({position for word in places for position in word})
        share = _share(tuple(places), tuple(positions), event.query.device)
        text_keys = self._method.direction == "T2I"
        blocks = event.text_to_image(place, positions) if text_keys else event.image_to_text(place, positions)
        equation = "hnk,wk->whn" if text_keys else "hkn,wk->whn"
        everything = torch.cat([torch.einsum(equation, block, share) for _, block in blocks], dim=1)
        kept = everything[:, indices(tuple(self._heads), everything.device)]
        return kept if "head" in self._method.keep else kept.mean(dim=1, keepdim=True)

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``attention_maps`` [edit, word, kept axes in the order step, block, head, grid row, grid column], float32.

        Words in the order of :meth:`AttentionMaps.words_of`; NaN where another edit has more words, and at steps that were not run.
        """
        if not self._means or self._grid is None:
            return {}
        means = {place: mean.mean().cpu() for place, mean in self._means.items()}
        steps, blocks = (self._sizes[axis] if axis in self._method.keep else 1 for axis in ("step", "block"))
        some = next(iter(means.values()))
        maps = some.new_full((len(self._numbers), self._words, steps, blocks, *some.shape[1:]), math.nan)
        for (edit, step, block), found in means.items():
            maps[edit, : len(found), step, block] = found
        kept = [size for axis, size in self._sizes.items() if axis in self._method.keep]
        return {"attention_maps": maps.reshape(*maps.shape[:2], *kept, *self._grid)}


@lru_cache(maxsize=64)
def _share(
    places: tuple[tuple[int, ...], ...], positions: tuple[int, ...], device: torch.device
) -> Float[Tensor, "words positions"]:
    """Return the share of each position in each word's mean, made once for a device, which waits for it."""
    share = [[(position in word) / len(word) for position in positions] for word in places]
    with torch.inference_mode(False):
        return torch.tensor(share, dtype=torch.float32, device=device)


def _places(row: Row, words: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Return the text positions of each word."""
    try:
        return [row.prompt.find(word) for word in words]
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`word`", "`words`", 1)) from error


def _heads(heads: tuple[int, ...] | None, count: int) -> list[int]:
    chosen = list(range(count)) if heads is None else list(dict.fromkeys(heads))
    unknown = [head for head in chosen if not 0 <= head < count]
    if unknown or not chosen:
        raise InvalidInputError(f"`heads` {unknown or 'none'} do not exist: the model has heads 0 to {count - 1}.")
    return chosen
