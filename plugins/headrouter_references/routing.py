"""Route heads between groups of tokens: text, the new picture, and the reference pictures.

A head of an instruction model divides the attention of an image token between the three groups. Some heads carry the reference into
the new picture, others the instruction. Each head h gets a weight for each group g, from a score d in [0, 1] of the edit at hand,

    w = 1 + γ_g·sigmoid(k·(d − δ)),

as in HeadRouter (arXiv:2411.15034, eq. 16–17), with γ_g of either sign: its attention to the group is multiplied by w, and the
softmax made anew. Scores are *shares*, how much of the head's attention the group has, or *dissimilarities*, how far the head's
output departs from that of the source's row under the null instruction (eq. 12–15): a head that departs carries the instruction.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.head_router.head_weights import dissimilarity, head_weights, normalised
from headrouter.methods.head_router.window import refuse_without_source
from headrouter.methods.method import MethodRun, RunContext
from headrouter.methods.step_means import StepMeans
from headrouter_references.acting import OnReferences, WindowRun
from headrouter_references.groups import GROUPS, attended, shares


@final
class GroupRouting(OnReferences):
    """Amplifies or damps, by head, the attention of image tokens to text, new picture and references.

    It acts in the conditional row of each edit. Its outputs of image tokens are made anew from query, key and value, so methods
    that change outputs come after it in the list.
    """

    label: ClassVar[str] = "group-routing"

    text: float = Field(0.0, ge=-1, le=10, description="γ of the text: above 0 amplifies, below 0 damps.")
    image: float = Field(0.0, gt=-1, le=10, description="γ of the new picture's own tokens.")
    reference: float = Field(
        0.5,
        ge=-1,
        le=10,
        description="γ of the reference pictures: above 0 keeps more of them; −1 lets the heads of highest score ignore them.",
    )
    score: Literal["share", "dissimilarity", "uniform"] = Field(
        "share",
        description="Score of a head: the share of its attention that the group has, over the heads of the layer; how far its "
        "output departs from the source's row, for the text, and how little, for the pictures; or 1 for all, a control.",
    )
    k: float = Field(10.0, ge=0, le=1000, description="k, steepness of the sigmoid over d.")
    delta: float = Field(0.5, ge=0, le=1, description="δ, centre of the sigmoid over d.")

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.k == 0 and self.score != "uniform":
            raise ValueError("`k` 0 weighs all heads alike, whatever their score; choose `score='uniform'` instead")
        return self

    @property
    def gammas(self) -> dict[str, float]:
        """Return γ by group, in the order of the groups."""
        return {"text": self.text, "image": self.image, "reference": self.reference}

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there are no reference pictures, or no source's row to compare with.
            InvalidInputError: a layer that the model does not have.
        """
        self.refuse_without_references(context)
        if self.score == "dissimilarity" and any(self.gammas.values()):
            refuse_without_source(context, "`method.score` 'dissimilarity'", "score='share'")
        return _GroupRoutingRun(self, context)


@final
class _GroupRoutingRun(WindowRun):
    def __init__(self, method: GroupRouting, context: RunContext):
        acts = any(method.gammas.values())
        super().__init__(method, context, acts=acts, compares=acts and method.score == "dissimilarity")
        self._method, self._means = method, StepMeans(context)

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        places = [place for place, item in enumerate(event.rows) if item.is_edit]
        weights = {place: self._weights(event, place, output) for place in places}
        steered = {place: attended(event, place, own) for place, own in weights.items() if own is not None}
        if not steered:
            return output
        result = event.writable(output)
        for place, own in steered.items():
            result[place, :, event.layout.image] = own
        return result

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``text_weights``, ``image_weights``, ``reference_weights``, and shares of that name where they are the score.

        [edit, step, layer, head], means over the evaluations of a step; NaN where there was none.
        """
        return self._means.means()

    def _weights(
        self, event: JointAttention, place: int, output: Float[Tensor, "rows heads tokens channels"]
    ) -> Float[Tensor, "groups heads"] | None:
        """Return w of each group and head of an edit; None where there is no source's row to compare with."""
        method, item = self._method, event.rows[place]
        if method.score == "dissimilarity":
            if item.pair is None:
                return None
            image = event.layout.image
            departs = normalised(dissimilarity(output[item.pair, :, image], output[place, :, image]))
            scores = torch.stack([departs, 1 - departs, 1 - departs])
        elif method.score == "share":
            found = shares(event, place)
            scores = normalised(found)
            for group, own in zip(GROUPS, found, strict=True):
                self._means.add(f"{group}_shares", event, item.row, own)
        else:
            scores = torch.ones(len(GROUPS), event.site.heads, dtype=torch.float32, device=output.device)
        gammas = method.gammas.values()
        weights = torch.stack(
            [head_weights(own, gamma, method.k, method.delta) for own, gamma in zip(scores, gammas, strict=True)]
        )
        for group, own in zip(GROUPS, weights, strict=True):
            self._means.add(f"{group}_weights", event, item.row, own)
        return weights


@final
class GroupShares(OnReferences):
    """Records how much of each head's attention goes to text, new picture and reference pictures, and changes nothing."""

    label: ClassVar[str] = "group-shares"

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there are no reference pictures.
            InvalidInputError: a layer that the model does not have.
        """
        self.refuse_without_references(context)
        return _GroupSharesRun(self, context)


@final
class _GroupSharesRun(WindowRun):
    def __init__(self, method: GroupShares, context: RunContext):
        super().__init__(method, context)
        self._means = StepMeans(context)

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        original = event.original()
        for place, item in enumerate(event.rows):
            if item.is_edit:
                for group, own in zip(GROUPS, shares(original, place), strict=True):
                    self._means.add(f"{group}_shares", event, item.row, own)
        return output

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``text_shares``, ``image_shares`` and ``reference_shares``, [edit, step, layer, head], means over each step."""
        return self._means.means()
