"""Inject the source's attention into the edit in the first steps, as a method, arXiv:2508.07519.

Projections are replaced before attention, so the model's own kernels run. Regions are replaced in the logits, before the softmax.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, final

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.joint_attention import JointAttention
from headrouter.config.one_or_more import OneOrMore
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.masks.grids import blended
from headrouter.masks.part import MaskPart
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
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
        if self.blocks is not None and self.first is not None:
            raise ValueError(f"`blocks` and `first` both choose blocks; give one, got {self.blocks} and {self.first}")
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
            InvalidInputError: a block that the model does not have.
        """
        if any(context.source_of(row) is None for row in context.rows):
            raise IncompatibleError(
                "`injection` copies from the source's row, and this run has no source. Edit a picture, or use `method='none'`."
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
        if idle := sorted({*self.everywhere} - {*self.acting(count)}):
            raise InvalidInputError(
                f"`method.everywhere` {idle} would have no effect: the method does not act in these blocks."
            )
        return _InjectionRun(self, context)

    def acting(self, count: int) -> Sequence[int]:
        """Return the numbers of the blocks in which it replaces, of a model of ``count`` joint blocks."""
        return range(self.first or count) if self.blocks is None else self.blocks


@final
class _InjectionRun(MethodRun):
    def __init__(self, method: Injection, context: RunContext):
        self._steps, self._both = context.first_steps(method.tau), method.branches == "both"
        blocks, self._everywhere = method.acting(len(context.sites)), frozenset(method.everywhere)
        alone = {site.index for site in context.image_sites} if method.image_attention else set()
        self._needs = Needs(
            attention=frozenset(blocks), image_attention=frozenset(alone & {*blocks}), pair=self._both or "conditional"
        )
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
        for name, tokens in self._parts:
            setattr(event, name, _copied(getattr(event, name), pairs, positions(event.layout, tokens), masks))
        for names in self._regions:
            queries, keys = (getattr(event.layout, name) for name in names)
            if queries.stop > queries.start and keys.stop > keys.start:  # image tokens alone have no regions of text
                for place, source in pairs:
                    event.overrides = event.overrides.taking(place, source, queries, keys)

    def _own(self, event: JointAttention, place: int) -> Tensor | None:
        """Return the edit's own share in each image token, None where it has none."""
        found = None if self._mask is None else self._mask.on_tokens(event.rows[place].row, event.layout.grid)
        return None if found is None else found.flatten()[:, None]

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return no diagnostics: the effect is given by the parameters."""
        return {}


def _copied(
    tensor: Tensor, pairs: Sequence[tuple[int, int]], tokens: slice, masks: Mapping[int, Tensor | None]
) -> Tensor:
    """Return ``tensor`` with tokens of the first of each pair of rows copied from the second, outside its mask."""
    copied = tensor.clone()
    for place, source in pairs:
        own, found = masks[place], tensor[source, :, tokens]
        copied[place, :, tokens] = found if own is None else blended(found, tensor[place, :, tokens], own)
    return copied
