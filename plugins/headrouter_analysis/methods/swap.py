"""Swap heads, to see what they carry from one picture to another, arXiv:2411.15034, sec. 3.1."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, final

from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.kernels import indices
from headrouter.attention.rows import way_to_a_source
from headrouter.config.step_or_fraction import window
from headrouter.errors import IncompatibleError
from headrouter.methods.heads import heads_by_block
from headrouter.methods.method import MethodRun, Needs, RunContext
from headrouter_analysis.methods.choice import OnHeads, token_places


@final
class HeadSwap(OnHeads):
    """Gives an edit the output of chosen heads of its source, or exchanges the two, branch by branch."""

    into: Literal["edit", "both"] = Field(
        "edit", description="Whether only the edit takes the source's output, or each takes the other's."
    )

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            InvalidInputError: a head that the model does not have.
            IncompatibleError: there is no source, or several edits for one source to swap with.
        """
        if not any(row.is_source for row in context.rows):
            raise IncompatibleError(
                f"`head-swap` takes from a source's row, and this run has no source. {way_to_a_source(context.rows)}."
            )
        edits = Counter(row.image for row in context.rows if not row.is_source)
        if self.into == "both" and max(edits.values(), default=0) > 1:
            raise IncompatibleError(
                "`into` 'both' swaps a source with one edit, and this run has several. Give one prompt, `max_rows=2`, or "
                "`into` 'edit'."
            )
        return _HeadSwapRun(self, context)


@final
class _HeadSwapRun(MethodRun):
    def __init__(self, method: HeadSwap, context: RunContext):
        self._method = method
        self._steps = window(method.start, method.stop, context.steps)
        self._heads = heads_by_block(method.heads, context.sites)
        self._needs = Needs(attention=frozenset(self._heads), pair=bool(self._heads))

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        tokens = token_places(event, self._method.tokens)
        heads = indices(tuple(self._heads[event.site.index]), output.device)[:, None]
        swapped = output.clone()
        for place, item in enumerate(event.rows):
            spared = item.cfg_branch == "unconditional" and self._method.branches == "conditional"
            if item.row.is_source or item.pair is None or spared:
                continue
            swapped[place, heads, tokens] = output[item.pair, heads, tokens]
            if self._method.into == "both":
                swapped[item.pair, heads, tokens] = output[place, heads, tokens]
        return swapped

    def diagnostics(self) -> Mapping[str, Tensor]:
        return {}
