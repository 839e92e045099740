"""Profile routing: head weights from a measured profile instead of from the edit at hand."""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.joint_attention import JointAttention
from headrouter.method import Method, MethodRun, Needs, Setting
from headrouter.moments import Moment, window
from headrouter.routing.heads import amplify_, head_weights
from headrouter_analysis.profile import By, Profile


@final
class ProfileRouting(Method):
    """Amplifies each head of the edit's conditional row by w_h = 1 + γ·sigmoid(k·(d̃_h − δ)), with d̃_h from a profile.

    Eq. 16–18 of arXiv:2411.15034 as in ``headrouter``, but d̃ is the sensitivity of the head to the edit's semantic, measured
    beforehand over many pairs and stretched over the heads of each layer. What a weight acts on is chosen as there, with the same
    defaults; whole outputs need no source row.
    """

    profile: str = Field("", description="File or folder that `headrouter analyze heads` wrote; a run needs one.")
    semantic: str = Field("", description="The edit's semantic, one of the profile's.")
    by: By = Field("sensitivity", description="Rank heads by how far they move, or by how much more than expected.")
    gamma: float = Field(0.2, ge=0, le=10, description="γ, largest increment.", json_schema_extra={"knob": "push"})
    k: float = Field(10.0, ge=0, le=1000, description="k, steepness of the sigmoid over d̃.")
    delta: float = Field(0.5, ge=0, le=1, description="δ, centre of the sigmoid over d̃.")
    form: Literal["literal", "anchored"] = Field("literal", description="Eq. 16, or a form that is exactly 1 at d̃ = 0.")
    amplify: Literal["output", "difference"] = Field(
        "difference", description="Multiply a head's output (eq. 18), or only what it differs by from the source's."
    )
    where: Literal["everywhere", "image"] = Field(
        "image", description="Weigh heads in all tokens (paper), or in image tokens."
    )
    shuffle: int | None = Field(
        None, ge=0, description="Seed by which d̃ is shuffled over the heads of each layer: a control, not a setting."
    )
    start: Moment = Field(0, description="First steered step, or fraction of the steps.")
    stop: Moment = Field(1.0, description="First step after the steered ones, or fraction.")

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
        """Attention."""
        return frozenset({"joint-attention"})

    @property
    def weights(self) -> Tensor:
        """w_h [blocks, heads], float32."""
        rank = self._loaded.normalised(self.semantic, self.by)
        if self.shuffle is not None:
            generator = torch.Generator().manual_seed(self.shuffle)
            order = torch.stack([torch.randperm(rank.shape[1], generator=generator) for _ in rank])
            rank = rank.gather(1, order)
        return head_weights(rank, self.gamma, self.k, self.delta, self.form).float()

    def begin(self, setting: Setting) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: differences from the source are asked for, and there is no source row.
            InvalidInputError: there is no profile, or it is of a model with other layers or heads.
        """
        if self.amplify == "difference" and not any(row.is_source for row in setting.rows):
            raise IncompatibleError(
                "`method.amplify` 'difference' compares an edit with its source, and this run has no source. Use "
                "`method.amplify='output'`."
            )
        weights = self.weights
        heads = {site.heads for site in setting.sites}
        if weights.shape[0] != len(setting.sites) or heads != {weights.shape[1]}:
            raise InvalidInputError(
                f"`profile` '{self.profile}' has {weights.shape[0]} layers of {weights.shape[1]} heads, this model has "
                f"{len(setting.sites)} of {max(heads)}. Measure a profile of this model with `headrouter analyze heads`."
            )
        return _ProfileRoutingRun(self, weights, setting)


@final
class _ProfileRoutingRun(MethodRun):
    def __init__(self, method: ProfileRouting, weights: Tensor, setting: Setting):
        self._method = method
        self._steps = window(method.start, method.stop, setting.steps)
        sites = frozenset(range(len(setting.sites))) if method.gamma > 0 else frozenset()
        self._needs = Needs(attention=sites, pair=bool(sites) and method.amplify == "difference")
        self._weights = weights

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        gain = self._weights[event.site.index].to(output.device)[:, None, None] - 1
        tokens = event.layout.image if self._method.where == "image" else slice(None)
        result = output.clone()
        for place, item in enumerate(event.rows):
            if item.is_edit and self._method.amplify == "output":
                amplify_(result[place][:, tokens], gain, output[place][:, tokens])
            elif item.is_edit and item.pair is not None:
                amplify_(result[place][:, tokens], gain, output[place][:, tokens], output[item.pair][:, tokens])
        return result

    def evidence(self) -> Mapping[str, Tensor]:
        """``profile_weights`` [layer, head]: the weights that were used."""
        return {"profile_weights": self._weights.clone()}
