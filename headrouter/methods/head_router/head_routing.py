"""Amplify the heads that react to the edit, arXiv:2411.15034, eq. 12–18.

In each chosen layer, for the conditional row of each edit, a scorer says how much each head has to do with the edit: d̃_h in
[0, 1]. The weight w_h = 1 + γ·sigmoid(k·(d̃_h − δ)) then amplifies the head's output. HeadRouter's own scorer (IARouter) looks at
the edit at hand: d̃_h is how far the outputs of the source's row and of the edit's differ, stretched over its heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.config.configuration import Parameters
from headrouter.methods.head_router.head_weights import amplified, dissimilarity, head_weights, normalised
from headrouter.methods.head_router.rows import changed_positions, steered
from headrouter.methods.head_router.window import Window, refuse_without_source
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans


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
    where: Literal["everywhere", "image", "words"] = Field(
        "image",
        description="Weigh heads in all tokens (paper), in image tokens, or there as far as the changed words reach.",
    )


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
        self, event: JointAttention, place: int, output: Float[Tensor, "rows heads tokens channels"]
    ) -> Float[Tensor, "heads"]:
        """Return d̃ of each head, in [0, 1], for the edit at ``place`` of the batch, from the kernel's ``output``."""


@final
class InstanceAdaptive(Scorer):
    """Scores heads as the paper does: d̃ of eq. 13–15, from the cosine of eq. 12."""

    compares = True

    def __init__(self, compare: Literal["all", "image"], means: StepMeans):
        """Score by the tokens that ``compare`` names; ``means`` receives ``dissimilarity``."""
        self._compare, self._means = compare, means

    def __call__(self, event: JointAttention, place: int, output: Tensor) -> Tensor:
        """Return d̃ of each head."""
        item, layout = event.rows[place], event.layout
        assert item.pair is not None
        source, edit = output[item.pair], output[place]
        if self._compare == "image" or not event.site.text_output:
            tokens: slice | Tensor = layout.image
        else:
            tokens = event.tokens_of(item.pair, place)
        source, edit = source[:, tokens], edit[:, tokens]
        found = dissimilarity(source, edit)
        self._means.add("dissimilarity", event, item.row, found)
        return normalised(found)


@final
class Uniform(Scorer):
    """Scores every head as if it differed most, d̃ = 1."""

    def __call__(self, event: JointAttention, place: int, output: Tensor) -> Tensor:
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
    return frozenset({"joint-attention", *words})


@final
class HeadRoutingRun(MethodRun):
    """Routes heads in one run."""

    def __init__(
        self, parameters: RoutingParameters, window: Window, context: RunContext, scorer: Scorer, means: StepMeans
    ):
        """Begin a run; ``means`` receives ``head_weights``, beside the diagnostics of the scorer."""
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

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        return self._parameters.where == "words"

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        return steered(event, output, lambda place: self.routed(event, place, output, output[place]))

    def routed(
        self,
        event: JointAttention,
        place: int,
        output: Float[Tensor, "rows heads tokens channels"],
        row: Float[Tensor, "heads tokens channels"],
    ) -> Float[Tensor, "heads tokens channels"]:
        """Return ``row``, what the edit's output has become so far, with its heads amplified by eq. 16–18.

        Scores, and the difference that is amplified, are of the kernel's ``output``.
        """
        item, chosen = event.rows[place], self._parameters
        if item.pair is None and self._compares:
            return row
        score = self._scorer(event, place, output)
        weights = head_weights(score, chosen.gamma, chosen.k, chosen.delta, chosen.form).float()
        self._means.add("head_weights", event, item.row, weights)
        gain = weights.to(output.device)[:, None, None] - 1
        if chosen.where != "everywhere":
            gain = gain * self._reach(event, place)[:, None]
        source = output[item.pair] if chosen.amplify == "difference" and item.pair is not None else None
        return amplified(row, gain, output[place], source).to(row.dtype)

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``head_weights`` and, of the instance-adaptive scorer, ``dissimilarity``, [edit, step, layer, head].

        Means over the evaluations of a step; NaN where there was none.
        """
        return self._means.means()

    def _reach(self, event: JointAttention, place: int) -> Float[Tensor, "tokens"]:
        """Return the share of a head's weight that acts in each token, in [0, 1]; none in text.

        In the image 1, or with ``where="words"`` the attention to the changed words over its largest.
        """
        reach = torch.zeros(event.layout.length, dtype=torch.float32, device=event.query.device)
        if self._parameters.where == "image":
            reach[event.layout.image] = 1.0
        elif positions := self._changed[event.rows[place].row]:
            attention = torch.cat([block for _, block in event.text_to_image(place, positions)]).sum(dim=(0, 2))
            reach[event.layout.image] = attention / attention.amax().clamp(min=torch.finfo(torch.float32).tiny)
        return reach
