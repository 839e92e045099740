"""Make a mask of where image tokens attend to the words that differ, arXiv:2508.07519.

The source's words are looked for in the source's row, the target's in the edit's. A is the attention of image queries to them, from
query and key as the model made them, whatever methods replace: mean over heads, over the words' tokens, over the chosen blocks
and over
the steps so far. Each map is smoothed, brought to the latents and divided by its maximum; the mask is where any is above θ.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, final

import torch
from jaxtyping import Bool, Float
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor
from torch.nn import functional
from typing_extensions import Self

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.attention.step_mean import StepMean
from headrouter.config.one_or_more import OneOrMore
from headrouter.config.ranking import ranking_of
from headrouter.errors import InvalidInputError
from headrouter.masks.context import MaskContext
from headrouter.masks.grids import convolved, gaussian
from headrouter.masks.mask import Mask, MaskRun
from headrouter.prompts.prompt import Prompt

REACH, SIGMA = 3, 1.0
"""Of the Gaussian: taps on each side of its middle, and standard deviation in tokens."""

Edges = Literal["same", "zeros"]
"""What smoothing takes beyond an edge: the edge's own value, so that an even map stays even, or zeros, as released."""

_SIDES: Final = (0, 1)
"""Of a pair: the source's row, and the edit's."""


Ranking = Annotated[tuple[int, ...], BeforeValidator(lambda value: ranking_of(value, "blocks", "block numbers"))]
"""Block numbers, best first; or a JSON file that has them under the key ``blocks``."""


@final
class WordsMask(Mask):
    """Lets an edit act where image tokens attend to the words that differ; it grows surer from step to step."""

    theta: float = Field(
        0.3, ge=0, lt=1, description="θ, share of a map's maximum above which a place is in. Published: 0.3."
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
    top: int = Field(5, ge=1, description="Number of blocks of the ranking that count. Published: 5.")
    widen: bool | None = Field(
        None,
        description="Widen maps of words to the largest of 3×3 tokens; by default as released: where the model takes its latents "
        "as a grid (SD3), not where it takes them packed into tokens (Flux).",
    )
    edges: Edges = Field(
        "same",
        description="Values beyond the edge of maps while smoothing: the edge's own value, or zeros, as released.",
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.blocks is not None and self.ranking is not None:
            raise ValueError("`blocks` and `ranking` both choose blocks; give one")
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Require attention, and positions of words."""
        return frozenset({"joint-attention", "prompt-words"})

    @property
    def is_soft(self) -> bool:
        """Return False."""
        return False

    def begin(self, context: MaskContext) -> MaskRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source.
            InvalidInputError: a word that is not in the prompt, no words to look for, a block that the model does not have, or no
                ranking of its blocks.
        """
        sources = [(row, context.source_of(row, "words").prompt) for row in context.edits]
        words = {row: self._words(source, row.prompt, instructed=bool(row.references)) for row, source in sources}
        return _WordsRun(self, context, self._blocks(context), words)

    def _words(self, source: Prompt, target: Prompt, *, instructed: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the text positions in the source's row and in the edit's whose maps make the mask."""
        if self.target_words is None and instructed:
            raise InvalidInputError(
                f"`mask.target_words` must say which words of the instruction {target.text!r} name the place of the edit; "
                "others, such as 'make' or 'the', are everywhere. Give them, or another mask: 'velocity', 'attention' or a "
                "picture of your own."
            )
        in_source = _positions("source_words", self.source_words, source, target)
        in_target = _positions("target_words", self.target_words, target, source)
        if not in_source and not in_target:
            raise InvalidInputError(
                f"`mask` 'words' needs words that differ: those of {source.text!r} and {target.text!r} do not differ. Give "
                "`source_words`, `target_words` or another mask."
            )
        return in_source, in_target

    def _blocks(self, context: MaskContext) -> frozenset[int]:
        ranking = context.word_blocks if self.ranking is None else self.ranking
        chosen = ranking[: self.top] if self.blocks is None else self.blocks
        if not chosen:
            raise InvalidInputError(
                "`mask.blocks` must be given: this model has no ranking of blocks by how well their attention shows a word. Give "
                "block numbers, or a `ranking` (a JSON file with the list `blocks`, best first), or another mask."
            )
        return context.blocks(chosen, "blocks" if self.blocks is not None else "ranking")


@final
class _WordsRun(MaskRun):
    mask: WordsMask

    def __init__(
        self,
        mask: WordsMask,
        context: MaskContext,
        blocks: frozenset[int],
        words: Mapping[Row, tuple[tuple[int, ...], tuple[int, ...]]],
    ):
        """Begin with the text positions of each edit, in the source's row and in the edit's."""
        super().__init__(mask, context)
        self._blocks, self._words = blocks, words
        self._widen = not context.packed_latents if mask.widen is None else mask.widen
        self._maps: dict[tuple[Row, int], StepMean] = {}
        self._values: dict[Row, Tensor] = {}

    @property
    def sites(self) -> frozenset[int]:
        return self._blocks

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        keys: dict[int, set[int]] = {}
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None and event.original() is event:
                for where, positions in zip((item.pair, place), self._words[item.row], strict=True):
                    keys.setdefault(where, set()).update(positions)
        return {place: sorted(positions) for place, positions in keys.items()}

    def hear(self, event: JointAttention, output: Tensor) -> None:
        original = event.original()
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                for side, where, positions in zip(_SIDES, (item.pair, place), self._words[item.row], strict=True):
                    if positions:
                        mean = self._maps.setdefault((item.row, side), StepMean())
                        mean.add(event.step_info.step, _map(original, where, positions))

    def end_call(self) -> None:
        for row in self.context.edits:
            maps = [self._maps[row, side].mean() for side in _SIDES if (row, side) in self._maps]
            if maps:
                found = words_mask(
                    torch.stack(maps), self.context.grid, self.mask.theta, widen=self._widen, edges=self.mask.edges
                )
                self._values[row] = found.float()

    def on_latents(self, row: Row) -> Tensor | None:
        return self._values.get(row)


def smoothed_map(maps: Float[Tensor, "maps rows columns"], edges: Edges = "same") -> Float[Tensor, "maps rows columns"]:
    """Smooth maps by a Gaussian of 7×7 taps, σ 1."""
    return convolved(maps, gaussian(SIGMA, REACH, maps.device), edges_repeat=edges == "same")


def normalised(
    maps: Float[Tensor, "maps rows columns"], size: tuple[int, int], widen: bool = True
) -> Float[Tensor, "maps latent_rows latent_columns"]:
    """Scale maps to the size of the latents: maximum of 3×3 tokens, nearest upsampling, division by their maximum.

    Without ``widen`` each token stands for itself. A map that is zero everywhere stays so.
    """
    wide = functional.max_pool2d(maps[:, None], 3, stride=1, padding=1) if widen else maps[:, None]
    upsampled = functional.interpolate(wide, size=size, mode="nearest")[:, 0]
    return upsampled / upsampled.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def words_mask(
    maps: Float[Tensor, "maps rows columns"],
    size: tuple[int, int],
    theta: float,
    *,
    widen: bool = True,
    edges: Edges = "same",
) -> Bool[Tensor, "latent_rows latent_columns"]:
    """Return the mask where any of the maps, smoothed and normalised, is above θ."""
    return (normalised(smoothed_map(maps, edges), size, widen) > theta).any(dim=0)


def _positions(name: str, words: tuple[str, ...] | None, prompt: Prompt, other: Prompt) -> tuple[int, ...]:
    if words is None:
        return prompt.new_positions(other)
    try:
        return tuple(sorted({position for word in words for position in prompt.find(word)}))
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`word`", f"`mask.{name}`", 1)) from error


def _map(event: JointAttention, row: int, positions: tuple[int, ...]) -> Tensor:
    """Return A of one row, mean over heads and over the text keys at ``positions``: [rows, columns]."""
    total = sum(block.sum(dim=(0, 2)) for _, block in event.text_to_image(row, positions))
    assert isinstance(total, Tensor)
    return total.view(event.layout.grid) / (event.query.shape[1] * len(positions))
