"""Measure how far each head's output is from the paired row's: arXiv:2411.15034, sec. 3.1 and eq. 12."""

from collections.abc import Mapping
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import way_to_a_source
from headrouter.errors import IncompatibleError
from headrouter.methods.heads import reaction
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans


@final
class HeadSensitivity(Method):
    """Changes nothing; records c_h = 1 − cos of every head's output in an edit's row and in its source's.

    ``compare`` ``image`` leaves the text out, which differs between two prompts before any attention; ``all`` is what the
    release compares. Where a model discards the text's output, it is left out in both.
    """

    compare: Literal["all", "image"] = Field("image", description="Tokens whose features enter the cosine.")

    @property
    def requires(self) -> frozenset[str]:
        """Require attention."""
        return frozenset({"joint-attention"})

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source row to compare with.
        """
        if not any(row.is_source for row in context.rows):
            raise IncompatibleError(
                f"`head-sensitivity` compares an edit with its source, and this run has no source. {way_to_a_source(context.rows)}."
            )
        return _HeadSensitivityRun(self, context)


@final
class _HeadSensitivityRun(MethodRun):
    def __init__(self, method: HeadSensitivity, context: RunContext):
        self._compare, self._means = method.compare, StepMeans(context)
        self._needs = Needs(attention=frozenset(range(len(context.sites))), pair="conditional")
        self._heads = max(site.heads for site in context.sites)

    def needs(self, step: int) -> Needs:
        return self._needs

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                found = reaction(event, output, place, self._compare)
                padded = functional.pad(found, (0, self._heads - len(found)), value=torch.nan)
                self._means.add("head_dissimilarity", event, item.row, padded)
        return output

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``head_dissimilarity`` [edit, step, block, head], 0 to 2; NaN where not measured."""
        return self._means.means()
