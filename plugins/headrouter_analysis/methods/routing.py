"""Route heads by a measured profile instead of by the edit at hand."""

from functools import cached_property
from typing import ClassVar, final

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.head_routing import HeadRoutingRun, RoutingParameters, Scorer, routing_requires
from headrouter.methods.head_router.head_weights import head_weights
from headrouter.methods.head_router.rows import Edits
from headrouter.methods.head_router.window import Window
from headrouter.methods.method import Method, MethodRun, RunContext
from headrouter.methods.step_means import StepMeans
from headrouter_analysis.profile import By, Profile


@final
class ProfileRouting(Window, RoutingParameters, Method):
    """Amplifies each head by w_h = 1 + γ·sigmoid(k·(d̃_h − δ)), with d̃_h from a profile.

    Eq. 16–18 of arXiv:2411.15034 as in ``headrouter``, but d̃ is the sensitivity of the head to the edit's semantic, measured
    beforehand over many pairs and stretched over the heads of each layer. Whole outputs need no source row.
    """

    needs_beside: ClassVar[str] = "a profile of heads, in a file"

    profile: str = Field("", description="File or folder that `headrouter analyze heads` wrote; a run needs one.")
    semantic: str = Field("", description="The edit's semantic, one of the profile's.")
    by: By = Field("sensitivity", description="Rank heads by how far they move, or by how much more than expected.")
    shuffle: int | None = Field(
        None, ge=0, description="Seed by which d̃ is shuffled over the heads of each layer: a control, not a setting."
    )

    @model_validator(mode="after")
    def _profile_is_there(self) -> "ProfileRouting":
        if self.profile or self.semantic:
            self._loaded.index(self.semantic)
        return self

    @cached_property
    def _loaded(self) -> Profile:
        if not self.profile:
            raise InvalidInputError(
                "`profile` must name a file that `headrouter analyze heads` wrote, and `semantic` one of its semantics."
            )
        return Profile.load(self.profile)

    @property
    def requires(self) -> frozenset[str]:
        """Require attention, and positions of words where they are amplified."""
        return routing_requires(self)

    @property
    def scores(self) -> Float[Tensor, "blocks heads"]:
        """Return d̃_h of every head, float64."""
        scores = self._loaded.normalised(self.semantic, self.by)
        if self.shuffle is not None:
            generator = torch.Generator().manual_seed(self.shuffle)
            order = torch.stack([torch.randperm(scores.shape[1], generator=generator) for _ in scores])
            scores = scores.gather(1, order)
        return scores

    @property
    def weights(self) -> Float[Tensor, "blocks heads"]:
        """Return w_h of every head, float32."""
        return head_weights(self.scores, self.gamma, self.k, self.delta, self.form).float()

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: differences from the source are asked for, and there is no source row.
            InvalidInputError: there is no profile, or it is of a model with other layers or heads.
        """
        scores, heads = self.scores, {site.heads for site in context.sites}
        if scores.shape[0] != len(context.sites) or heads != {scores.shape[1]}:
            raise InvalidInputError(
                f"`profile` '{self.profile}' has {scores.shape[0]} layers of {scores.shape[1]} heads, this model has "
                f"{len(context.sites)} of {max(heads)}. Measure a profile of this model with `headrouter analyze heads`."
            )
        return HeadRoutingRun(self, self, context, _ProfileScorer(scores), StepMeans(context))


@final
class _ProfileScorer(Scorer):
    """Scores heads by d̃ of a profile, whatever the edit."""

    def __init__(self, scores: Float[Tensor, "blocks heads"]):
        self._scores = scores

    def __call__(self, event: JointAttention, edits: Edits, output: Tensor) -> Tensor:
        return self._scores[event.site.index]
