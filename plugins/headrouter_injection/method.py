"""Inject the source's attention into the edit in the first steps, as a method, arXiv:2508.07519.

Projections are replaced before attention, so the model's own kernels run. Regions are replaced in the logits, before the softmax.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, final

from jaxtyping import Int
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import way_to_a_source
from headrouter.config.one_or_more import OneOrMore
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.masks.grids import blended
from headrouter.masks.part import MaskPart
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter_injection.heads import CountOrFraction, HeadChoice, InjectingHeads, refuse_idle_choice
from headrouter_injection.parts import OF_THE_IMAGE, PROJECTIONS, REGIONS, Name, positions


@final
class Injection(Method):
    """Replace parts of each edit's attention by those of its source's row.

    Each branch of guidance copies from the source's row of the same branch and picture; where the source has no such row,
    nothing is replaced. Values stay the edit's, except with ``kivi``. The source's row never changes.
    """

    replace: OneOrMore[Name] = Field(
        ("qiki",),
        description="Replaced parts, one or several. Projections: qi, ki, qiki, qk, qikt, qtki, qtkt, kivi. Regions of the "
        "logits: I2I, T2I, I2T, T2T (keys to queries).",
    )
    tau: StepOrFraction = Field(
        0.2,
        description="τ, first steps of those that are run, or fraction of them, in which it replaces; above 0 at least one. "
        "Published: 0.2.",
    )
    branches: Literal["both", "conditional"] = Field(
        "both",
        description="Branches of guidance in which it replaces: each from the source's of the same branch, or only the conditional "
        "one, as released.",
    )
    blocks: tuple[int, ...] | None = Field(
        None, description="Numbers of the joint blocks that replace; all if not given."
    )
    image_attention: bool = Field(
        False,
        description="Replace also where image tokens attend among themselves alone (SD3.5-medium), what concerns image tokens; "
        "by the numbers of the blocks.",
    )
    first: int | None = Field(
        None, ge=1, description="Replace in the first n joint blocks only. Published: 38 for schnell, 30 for turbo."
    )

    heads: HeadChoice = Field(
        "all",
        description="Heads that replace: all; those whose output differs most or least between edit and source, measured in each "
        "attention; or a list of [block, head], or a JSON file with one under `heads`, best first.",
    )
    top: CountOrFraction | None = Field(
        None,
        description="Number of these heads, or fraction: of each block's where the edit chooses them, else of those listed, the "
        "first.",
    )

    mask: MaskPart | None = Field(
        None,
        json_schema_extra={"knob": "mask"},
        description="Mask outside which it replaces, in image tokens alone: inside, the edit attends as it likes.",
    )

    everywhere: tuple[int, ...] = Field(
        (),
        description="Numbers of those of its blocks that replace inside the mask, too. Published for LayerVerse: 2 of FLUX.1-dev, "
        "20 to 23 of SD3.5-medium.",
    )

    @model_validator(mode="after")
    def _choices(self) -> Self:
        if not self.replace:
            raise ValueError("`replace` names nothing; leave the method out, or use `tau` 0")
        refuse_idle_choice(self.heads, self.top)
        if self.blocks is not None and self.first is not None:
            raise ValueError(f"`blocks` and `first` both choose blocks; give one, got {self.blocks} and {self.first}")
        if isinstance(self.heads, tuple) and (self.blocks is not None or self.first is not None):
            raise ValueError("`heads` lists heads by block, so `blocks` and `first` have no use; leave them out")
        if self.mask is not None and (elsewhere := [name for name in self.replace if name not in OF_THE_IMAGE]):
            raise ValueError(
                f"`mask` says where in the picture, and `replace` {', '.join(elsewhere)} concerns more than queries, keys and "
                "values "
                f"of image tokens; choose of {', '.join(OF_THE_IMAGE)}"
            )
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Return the capability words that the backbone must provide."""
        words = {"joint-attention", "image-attention"} if self.image_attention else {"joint-attention"}
        return frozenset(words) | (frozenset() if self.mask is None else self.mask.requires)

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source to copy from.
            InvalidInputError: a block or a head that the model does not have.
        """
        if any(context.source_of(row) is None for row in context.rows):
            raise IncompatibleError(
                "`injection` copies from the source's row, and this run has no source. "
                f"{way_to_a_source(context.rows)}, or use `method='none'`."
            )
        count = len(context.sites)
        if self.everywhere and self.mask is None:
            raise InvalidInputError(
                f"`method.everywhere` {list(self.everywhere)} would have no effect: without a mask every block replaces everywhere."
                " Give a `mask`, such as 'words', or leave it out."
            )
        unknown = [block for block in (*(self.blocks or ()), *self.everywhere) if not 0 <= block < count]
        if unknown:
            raise InvalidInputError(
                f"`method.blocks` {unknown} do not exist: the model has joint blocks 0 to {count - 1}."
            )
        if self.first is not None and self.first > count:
            raise InvalidInputError(
                f"`method.first` must be at most {count}, the model's joint blocks, got {self.first}."
            )
        heads = InjectingHeads(self.heads, self.top, context)
        blocks = self.acting(count) if heads.blocks is None else heads.blocks
        if idle := sorted({*self.everywhere} - {*blocks}):
            raise InvalidInputError(
                f"`method.everywhere` {idle} would have no effect: the method does not act in these blocks."
            )
        return _InjectionRun(self, context, heads, frozenset(blocks))

    def acting(self, count: int) -> Sequence[int]:
        """Return the numbers of the blocks in which all heads may replace, of a model of ``count`` joint blocks."""
        return range(self.first or count) if self.blocks is None else self.blocks


@final
class _InjectionRun(MethodRun):
    def __init__(self, method: Injection, context: RunContext, heads: InjectingHeads, blocks: frozenset[int]):
        self._steps, self._both = context.first_steps(method.tau), method.branches == "both"
        self._heads, self._everywhere = heads, frozenset(method.everywhere)
        alone = frozenset(site.index for site in context.image_sites) if method.image_attention else frozenset()
        self._needs = Needs(attention=blocks, image_attention=alone & blocks, pair=self._both or "conditional")
        self._mask = None if method.mask is None else context.mask(method.mask, until=self._steps.stop)
        parts = [part for name in method.replace for part in PROJECTIONS.get(name, ())]
        self._parts = list(dict.fromkeys(parts))
        self._regions = list(dict.fromkeys(REGIONS[name] for name in method.replace if name in REGIONS))

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def before(self, event: JointAttention) -> None:
        pairs = [
            (place, item.pair)
            for place, item in enumerate(event.rows)
            if item.pair is not None and (self._both or item.cfg_branch == "conditional")
        ]
        if not pairs:
            return
        masked = event.site.index not in self._everywhere
        masks = {place: self._own(event, place) if masked else None for place, _ in pairs}
        heads = self._heads.of(event, [place for place, _ in pairs])
        for name, tokens in self._parts:
            setattr(event, name, _copied(getattr(event, name), pairs, positions(event.layout, tokens), masks, heads))
        for names in self._regions:
            queries, keys = (getattr(event.layout, name) for name in names)
            if queries.stop > queries.start and keys.stop > keys.start:  # image tokens alone have no regions of text
                for place, source in pairs:
                    event.overrides = event.overrides.taking(place, source, queries, keys, heads[place])

    def _own(self, event: JointAttention, place: int) -> Tensor | None:
        """Return the edit's own share in each image token, None where it has none."""
        found = None if self._mask is None else self._mask.on_tokens(event.rows[place].row, event.layout.grid)
        return None if found is None else found.flatten()[:, None]

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return the diagnostics of :class:`InjectingHeads`; none where the parameters say all."""
        return self._heads.diagnostics()


def _copied(
    tensor: Tensor,
    pairs: Sequence[tuple[int, int]],
    tokens: slice,
    masks: Mapping[int, Tensor | None],
    heads: Mapping[int, Int[Tensor, "chosen"] | None],
) -> Tensor:
    """Return ``tensor`` with tokens of each pair's first row from its second, in its heads, outside its mask."""
    copied = tensor.clone()
    for place, source in pairs:
        chosen = slice(None) if (some := heads[place]) is None else some
        own, found = masks[place], tensor[source, chosen, tokens]
        copied[place, chosen, tokens] = found if own is None else blended(found, tensor[place, chosen, tokens], own)
    return copied
