"""Check the choice of blocks and heads against the model."""

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, Site
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.errors import InvalidInputError
from headrouter.methods.heads import Heads
from headrouter.methods.method import Method

Tokens = Literal["all", "image"]


class OnHeads(Method, ABC):
    """Acts on chosen heads: on these tokens, in these branches of guidance, during these steps."""

    heads: Heads = Field((), description="Heads that are acted on, each [layer, head]; none changes nothing.")
    tokens: Tokens = Field("all", description="Tokens whose output is changed: all, or those of the image.")
    branches: Literal["conditional", "both"] = Field(
        "conditional", description="Branches of guidance that are changed: the conditional one, or both."
    )
    start: StepOrFraction = Field(0, description="First step, or fraction of the steps.")
    stop: StepOrFraction = Field(1.0, description="First step after those, or fraction.")

    renamed_fields: ClassVar[Mapping[str, str]] = {"halves": "branches"}

    @property
    def requires(self) -> frozenset[str]:
        """Require attention."""
        return frozenset({"joint-attention"})


def chosen_blocks(blocks: Sequence[int] | None, sites: Sequence[Site]) -> list[int]:
    """Numbers of joint layers, ascending, each once; all of them if None.

    Raises:
        InvalidInputError: one that the model does not have, or none at all.
    """
    chosen = sorted(set(range(len(sites)) if blocks is None else blocks))
    unknown = [block for block in chosen if not 0 <= block < len(sites)]
    if unknown or not chosen:
        raise InvalidInputError(
            f"`blocks` {unknown or 'none'} do not exist: the model has joint layers 0 to {len(sites) - 1}."
        )
    return chosen


def token_places(event: JointAttention, tokens: Tokens) -> Tensor:
    """Return positions of the joint sequence that a method acts on."""
    layout, device = event.layout, event.query.device
    part = layout.image if tokens == "image" else slice(0, layout.length)
    return torch.arange(part.start, part.stop, dtype=torch.long, device=device)
