"""Amplify the heads that react to the edit, arXiv:2411.15034, eq. 12–18.

In each chosen layer, for the conditional row of each edit, a scorer says how much each head has to do with the edit: d̃_h in
[0, 1]. The weight w_h = 1 + γ·sigmoid(k·(d̃_h − δ)) then amplifies the head's output. HeadRouter's own scorer (IARouter) looks at
the edit at hand: d̃_h is how far the outputs of the source's row and of the edit's differ, stretched over its heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.joint_attention import JointAttention
from headrouter.config.configuration import Parameters
from headrouter.errors import InvalidInputError
from headrouter.masks.part import MaskPart
from headrouter.methods.head_router.head_weights import dissimilarity, head_gains, normalised
from headrouter.methods.head_router.pass_over_edits import steered
from headrouter.methods.head_router.rows import Edits, changed_positions
from headrouter.methods.head_router.steering import Amplification
from headrouter.methods.head_router.window import Window, refuse_without_source
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans

GAIN: Final = "head_gains"
"""Name under which g = w − 1 is averaged; weights are what is reported."""


class RoutingParameters(Parameters):
    """Sets how scores of heads become weights, and the outputs that a weight multiplies."""

    gamma: float = Field(
        0.2,
        ge=0,
        le=10,
        description="γ, largest increment of a head's weight; 0 routes nothing.",
        json_schema_extra={"knob": "push"},
    )
    k: float = Field(10.0, ge=0, le=1000, description="k, steepness of the sigmoid over d̃ (the release has none: 1).")
    delta: float = Field(0.5, ge=0, le=1, description="δ, centre of the sigmoid over d̃.")
    form: Literal["literal", "anchored"] = Field("literal", description="Eq. 16, or a form that is exactly 1 at d̃ = 0.")
    amplify: Literal["output", "difference"] = Field(
        "difference",
        description="Multiply a head's output (eq. 18), or only what it differs by from the source's: "
        "v_e + (w − 1)·(v_e − v_r), which leaves alone what the branches agree on.",
    )
    where: Literal["everywhere", "image", "words", "mask"] = Field(
        "image",
        description="Weigh heads in all tokens (paper), in image tokens, or there as far as the changed words, or a mask, reach.",
    )
    mask: MaskPart | None = Field(
        None,
        json_schema_extra={"knob": "mask", "when": {"where": "mask"}},
        description="Mask for `where` 'mask', the edit's if not given.",
    )

    @model_validator(mode="after")
    def _mask_is_used(self) -> Self:
        if self.mask is not None and self.where != "mask":
            raise ValueError(f"`mask` has an effect with `where` 'mask' alone, got {self.where!r}")
        return self


class ScoringParameters(Parameters):
    """Sets how heads are scored from the edit at hand."""

    scorer: Literal["instance-adaptive", "uniform"] = Field(
        "instance-adaptive",
        description="Score heads by their dissimilarity between source and edit (eq. 12–15), or all alike: a control.",
    )
    compare: Literal["all", "image"] = Field("all", description="Tokens whose features enter the cosine of eq. 12.")

    def make_scorer(self, means: StepMeans) -> "Scorer":
        """Return the scorer of a run; what it sees goes into ``means``."""
        return InstanceAdaptive(self.compare, means) if self.scorer == "instance-adaptive" else Uniform()


class Scorer(ABC):
    """Says how much each head of a layer has to do with an edit."""

    compares: ClassVar[bool] = False
    """Whether it looks at the source's row."""

    @abstractmethod
    def __call__(
        self, event: JointAttention, edits: Edits, output: Float[Tensor, "rows heads tokens channels"]
    ) -> Float[Tensor, "*#edits heads"]:
        """Return d̃ of each head, in [0, 1], for the edits of one picture, from the kernel's ``output``."""


@final
class InstanceAdaptive(Scorer):
    """Scores heads as the paper does: d̃ of eq. 13–15, from the cosine of eq. 12."""

    compares = True

    def __init__(self, compare: Literal["all", "image"], means: StepMeans):
        """Score by the tokens that ``compare`` names; ``means`` receives ``dissimilarity``."""
        self._compare, self._means = compare, means

    def __call__(self, event: JointAttention, edits: Edits, output: Tensor) -> Tensor:
        """Return d̃ of each head."""
        source, edit, counted = output[edits.source], output[edits.batch], None
        if self._compare == "image" or not event.site.text_output:
            source, edit = source[:, :, event.layout.image], edit[:, :, event.layout.image]
        else:
            counted = self._counted(event, edits)
        found = dissimilarity(source, edit, counted)
        for row, own in zip(edits.rows, found, strict=True):
            self._means.add("dissimilarity", event, row, own)
        return normalised(found)

    def _counted(self, event: JointAttention, edits: Edits) -> Bool[Tensor, "edits tokens"] | None:
        """Return the tokens that are no padding, for each edit, in it or in its source; None if all are."""
        assert edits.pair is not None
        padding = [event.padding_of(edits.pair, place) for place in edits.places]
        if not any(padding):
            return None
        counted = torch.ones(len(padding), event.layout.length, dtype=torch.bool, device=event.query.device)
        for own, parts in zip(counted, padding, strict=True):
            for part in parts:
                own[part] = False
        return counted


@final
class Uniform(Scorer):
    """Scores every head as if it differed most, d̃ = 1."""

    def __call__(self, event: JointAttention, edits: Edits, output: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones(output.shape[1], dtype=torch.float32, device=output.device)


@final
class HeadRouting(ScoringParameters, RoutingParameters, Window, Method):
    """Amplifies the heads that react to the edit, without the other parts of HeadRouter."""

    @property
    def requires(self) -> frozenset[str]:
        """Require attention, and positions of words where words are compared or amplified."""
        return routing_requires(self)

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source row to compare with.
            InvalidInputError: a layer that the model does not have.
        """
        means = StepMeans(context)
        return HeadRoutingRun(self, self, context, self.make_scorer(means), means)


def routing_requires(parameters: RoutingParameters) -> frozenset[str]:
    """Return the capability words that head routing needs."""
    words = {"prompt-words"} if parameters.gamma > 0 and parameters.where == "words" else set()
    mask = parameters.mask.requires if parameters.mask is not None else set()
    return frozenset({"joint-attention", *words, *mask})


@final
class HeadRoutingRun(MethodRun):
    """Routes heads in one run."""

    def __init__(
        self, parameters: RoutingParameters, window: Window, context: RunContext, scorer: Scorer, means: StepMeans
    ):
        """Begin a run; ``means`` receives the gains of heads, beside the diagnostics of the scorer."""
        self._parameters, self._scorer, self._means = parameters, scorer, means
        self._steps, acts = window.steps(context), parameters.gamma > 0
        sites = frozenset(site.index for site in window.sites(context)) if acts else frozenset()
        self._compares = scorer.compares or parameters.amplify == "difference"
        if acts and scorer.compares:
            refuse_without_source(context, "Head routing", "gamma=0")
        elif acts and self._compares:
            refuse_without_source(context, "`method.amplify` 'difference'", "amplify='output'")
        elif acts and parameters.where == "words":
            refuse_without_source(context, "`method.where` 'words'", "where='image'")
        self._needs = Needs(attention=sites, pair="conditional" if acts and self._compares else False)
        self._changed = changed_positions(context)
        if acts and parameters.where == "mask" and parameters.mask is None:
            raise InvalidInputError(
                "`method.where` 'mask' needs a mask, and there is none. Give the edit a `mask`, or `method.mask`."
            )
        mask = parameters.mask if acts else None
        self._mask = None if mask is None else context.mask(mask, until=self._steps.stop)

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        if self._parameters.where != "words":
            return {}
        return {place: self._changed[item.row] for place, item in enumerate(event.rows) if item.is_edit}

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        return steered(event, output, self, None)

    def amplification(
        self, event: JointAttention, edits: Edits, output: Float[Tensor, "rows heads tokens channels"]
    ) -> Amplification | None:
        """Return by how much more the heads of one picture's edits act, eq. 16–18; None if they do not.

        Scores, and the difference that is amplified, are of the kernel's ``output``.
        """
        chosen = self._parameters
        if edits.pair is None and self._compares:
            return None
        score = self._scorer(event, edits, output)
        gain = head_gains(score.to(output.device), chosen.gamma, chosen.k, chosen.delta, chosen.form).float()
        gain = gain.expand(len(edits.rows), -1)
        for row, own in zip(edits.rows, gain, strict=True):
            self._means.add(GAIN, event, row, own)
        tokens = slice(0, event.layout.length) if chosen.where == "everywhere" else event.layout.image
        reach = self._reach(event, edits) if chosen.where == "words" else self._masked(event, edits)
        if chosen.where == "words" and reach is None:
            return None
        source = output[edits.source] if chosen.amplify == "difference" and edits.pair is not None else None
        return Amplification(gain, tokens, reach, source)

    def _masked(self, event: JointAttention, edits: Edits) -> Float[Tensor, "edits image_tokens"] | None:
        """Return the mask of each edit in each image token; None, which is everywhere, while there is none."""
        found = [None if self._mask is None else self._mask.on_tokens(row, event.layout.grid) for row in edits.rows]
        known = [one.flatten() for one in found if one is not None]
        return torch.stack(known) if len(known) == len(found) else None

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``head_weights`` and, of the instance-adaptive scorer, ``dissimilarity``, [edit, step, layer, head].

        Means over the evaluations of a step; NaN where there was none.
        """
        found = dict(self._means.means())
        gain = found.pop(GAIN, None)
        return found if gain is None else {**found, "head_weights": 1 + gain}

    def _reach(self, event: JointAttention, edits: Edits) -> Float[Tensor, "edits image_tokens"] | None:
        """Return the share of a head's weight that acts in each image token: its attention to changed words over the largest."""
        positions = [self._changed[row] for row in edits.rows]
        if not any(positions):
            return None
        blocks = event.text_to_image_of(edits.places, positions)
        attention = torch.stack([block.sum(dim=(1, 3)) for _, block in blocks]).sum(dim=0)
        return attention / attention.amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
