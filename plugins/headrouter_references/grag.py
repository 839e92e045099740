"""Scale the reference's keys about their mean: group-relative attention guidance, arXiv:2510.24657.

For each reference picture and head, with k̄ the mean of its keys over tokens: k ← b·k̄ + δ·(k − k̄).
"""

from collections.abc import Mapping
from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.method import MethodRun, RunContext
from headrouter_references.acting import Branches, OnReferences, WindowRun


@final
class GroupGuidance(OnReferences):
    """Raises or lowers the hold of reference pictures on each edit, by the spread of their keys.

    A larger δ lets the tokens of a reference differ more from each other, so that the edit follows it more closely; b moves all of
    them together. The source's row never changes. Published: δ 0.8 to 1.7, b 1, in every block and step.
    """

    label: ClassVar[str] = "grag"

    spread: float = Field(
        1.1, ge=0, le=10, description="δ, factor of what a key differs by from its picture's mean; 1 changes nothing."
    )
    mean: float = Field(1.0, ge=0, le=10, description="b, factor of the mean; 1 changes nothing.")
    branches: Branches = "both"

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there are no reference pictures.
            InvalidInputError: a layer that the model does not have.
        """
        self.refuse_without_references(context)
        return _GroupGuidanceRun(self, context)


@final
class _GroupGuidanceRun(WindowRun):
    def __init__(self, method: GroupGuidance, context: RunContext):
        super().__init__(method, context, acts=(method.spread, method.mean) != (1, 1))
        self._method = method

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
