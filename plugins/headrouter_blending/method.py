"""Blend latents after a step, x_e ← where(mask, x_e, x_r), as a method, arXiv:2508.07519.

The mask is where image tokens attend to the words that differ: the source's words in the source's row, the target's in the edit's.
Or, as an option of this project, where the edit's attention departs from its source's.
"""

from functools import partial
from typing import Literal, final

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.rows import Row
from headrouter.config.one_or_more import OneOrMore
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.method import Method, MethodRun, RunContext
from headrouter.prompts.prompt import Prompt
from headrouter_blending.given import MaskText, Ranking, mask_pixels
from headrouter_blending.mask import Edges, blend_mask
from headrouter_blending.runs import DifferenceRun, GivenRun, WordsRun


@final
class LocalBlend(Method):
    """Keep each edit the source outside a mask, in the first steps.

    A is the attention of image queries to the chosen words, from query and key as the model made them, whatever other methods
    replace: mean over heads, over the words' tokens, over the chosen blocks and over the steps so far. Each edit has a mask of its
    own with its source. It composes with any method and any place in the list gives the same mask.

    With ``mask_from="difference"`` no word is looked at: A is the distance ‖o_e − o_r‖ over all heads between attention outputs of
    the edit's and of the source's row, in each image token, over the largest of the block; mean over blocks and steps. Methods
    before it in the list have changed those outputs.
    """

    blend: StepOrFraction = Field(
        0.5,
        description="First steps of those that are run, or fraction of them, after which it blends; above 0 at least one. "
        "Published: 0.5.",
    )
    theta: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="θ, share of a map's maximum above which a place is in the mask; by default 0.3 for words, as published, "
        "and 0.2 for differences.",
    )
    mask_from: Literal["words", "difference"] = Field(
        "words",
        description="Source of the mask: attention to the words that differ (published), or how far the edit's "
        "attention output departs from its source's, which needs neither words nor a ranking of blocks.",
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
        description="Values beyond the edge of maps of words while smoothing: the edge's own value, or zeros, as released.",
    )
    mask: MaskText | None = Field(
        None,
        repr=False,
        description="A mask of your own instead, of the picture's size: white where the edit may differ.",
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.blocks is not None and self.ranking is not None:
            raise ValueError("`blocks` and `ranking` both choose blocks; give one")
        looked = {"source_words", "target_words", "blocks", "ranking", "widen", "edges"}
        useless = {"`mask`": looked if self.mask is not None else set()}
        if self.mask_from == "difference":
            useless["`mask_from` 'difference'"] = {"mask", *looked} - {"blocks"}
        for reason, names in useless.items():
            fields = type(self).model_fields
            if given := [
                f"`{name}`" for name in fields if name in names and getattr(self, name) != fields[name].default
            ]:
                raise ValueError(f"{reason} leaves no use for {', '.join(given)}; leave one or the other out")
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Require positions of words where the mask is made from them; the user's mask needs nothing."""
        if self.mask is not None:
            return frozenset()
        return frozenset({"joint-attention", "prompt-words"} if self.mask_from == "words" else {"joint-attention"})

    @property
    def threshold(self) -> float:
        """Return θ, or its default for the kind of mask."""
        return self.theta if self.theta is not None else 0.3 if self.mask_from == "words" else 0.2

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source to keep.
            InvalidInputError: a word that is not in the prompt, no words to look for, a block that the model does not have, no
                ranking of its blocks, or a mask of another size than the picture.
        """
        if any(context.source_of(row) is None for row in context.rows):
            raise IncompatibleError(
                "`local-blend` keeps the source outside a mask, and this run has no source. Edit a picture, or leave "
                "`local-blend` out."
            )
        if self.mask is not None:
            return GivenRun(self.blend, context, _checked(mask_pixels(self.mask), context.size))
        blocks = _blocks(self, context)
        if self.mask_from == "difference":
            return DifferenceRun(self.blend, context, blocks, self.threshold)
        words: dict[Row, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for row in context.rows:
            source = context.source_of(row)
            if not row.is_source and source is not None:
                words[row] = _words(self, source.prompt, row.prompt)
        widen = not context.packed_latents if self.widen is None else self.widen
        shaped = partial(blend_mask, theta=self.threshold, widen=widen, edges=self.edges)
        return WordsRun(self.blend, context, blocks, shaped, words)


def _words(method: LocalBlend, source: Prompt, target: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the text positions in the source's row and in the edit's whose maps make the mask."""
    in_source = _positions("source_words", method.source_words, source, target)
    in_target = _positions("target_words", method.target_words, target, source)
    if not in_source and not in_target:
        raise InvalidInputError(
            f"`local-blend` needs words that differ: those of {source.text!r} and {target.text!r} do not differ. Give "
            "`source_words`, `target_words` or a `mask`."
        )
    return in_source, in_target


def _positions(name: str, words: tuple[str, ...] | None, prompt: Prompt, other: Prompt) -> tuple[int, ...]:
    if words is None:
        return prompt.new_positions(other)
    try:
        return tuple(sorted({position for word in words for position in prompt.find(word)}))
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`word`", f"`method.{name}`", 1)) from error


def _blocks(method: LocalBlend, context: RunContext) -> tuple[int, ...]:
    """Return the blocks whose attention counts."""
    ranking = context.word_blocks if method.ranking is None else method.ranking
    best = range(len(context.sites)) if method.mask_from == "difference" else ranking[: method.top]
    chosen = tuple(best) if method.blocks is None else method.blocks
    if not chosen:
        raise InvalidInputError(
            "`method.blocks` must be given: this model has no ranking of blocks by how well their attention shows a word. Give "
            "block numbers, or a `ranking` (a JSON file with the list `blocks`, best first), or a `mask`."
        )
    count, name = len(context.sites), "blocks" if method.blocks is not None else "ranking"
    unknown = [block for block in chosen if not 0 <= block < count]
    if unknown:
        raise InvalidInputError(f"`method.{name}` {unknown} do not exist: the model has joint blocks 0 to {count - 1}.")
    return tuple(dict.fromkeys(chosen))


def _checked(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Return a mask of the size of the picture."""
    height, width = pixels.shape
    if size is not None and (width, height) != size:
        raise InvalidInputError(
            f"`method.mask` must have the size of the picture, {size[0]}x{size[1]} pixels, got {width}x{height}. Resize the mask."
        )
    return pixels
