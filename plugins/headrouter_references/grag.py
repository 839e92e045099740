"""Scale the reference's keys about their mean: group-relative attention guidance, arXiv:2510.24657.

For each reference picture and head, with k̄ the mean of its keys over tokens: k ← b·k̄ + δ·(k − k̄).
"""

from collections.abc import Mapping
from typing import Literal, final

from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.head_router.window import Window
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter_references.groups import refuse_without_references


@final
class GroupGuidance(Window, Method):
    """Raises or lowers the hold of reference pictures on each edit, by the spread of their keys.

    A larger δ lets the tokens of a reference differ more from each other, so that the edit follows it more closely; b moves all of
    them together. The source's row never changes. Published: δ 0.8 to 1.7, b 1, in every block and step.
    """

    spread: float = Field(
        1.1, ge=0, le=10, description="δ, factor of what a key differs by from its picture's mean; 1 changes nothing."
    )
    mean: float = Field(1.0, ge=0, le=10, description="b, factor of the mean; 1 changes nothing.")
    branches: Literal["both", "conditional"] = Field(
        "both", description="Branches of guidance in which it acts: both, as published, or the conditional one alone."
    )

    @property
    def requires(self) -> frozenset[str]:
        """Require attention and reference pictures."""
        return frozenset({"joint-attention", "reference-pictures"})

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there are no reference pictures.
            InvalidInputError: a layer that the model does not have.
        """
        refuse_without_references(context, "grag")
        return _GroupGuidanceRun(self, context)


@final
class _GroupGuidanceRun(MethodRun):
    def __init__(self, method: GroupGuidance, context: RunContext):
        self._method, self._steps = method, method.steps(context)
        acts = (method.spread, method.mean) != (1, 1)
        self._needs = Needs(attention=frozenset(site.index for site in method.sites(context)) if acts else frozenset())

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def before(self, event: JointAttention) -> None:
        method, key = self._method, event.key.clone()
        for place, item in enumerate(event.rows):
            if item.row.is_source or (method.branches == "conditional" and not item.is_edit):
                continue
            for group in event.layout.references:
                own = event.key[place, :, group.tokens]
                mean = own.mean(dim=1, keepdim=True)
                key[place, :, group.tokens] = method.mean * mean + method.spread * (own - mean)
        event.key = key

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return nothing: both factors are the method's own."""
        return {}
