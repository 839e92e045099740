"""Drop heads, to see what a picture loses without them, arXiv:2411.15034, sec. 3.1."""

from collections.abc import Mapping
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.kernels import indices
from headrouter.attention.rows import BatchRow
from headrouter.config.step_or_fraction import window
from headrouter.errors import InvalidInputError
from headrouter.methods.heads import heads_by_block
from headrouter.methods.method import MethodRun, Needs, RunContext
from headrouter_analysis.methods.choice import OnHeads, token_places


@final
class HeadDropout(OnHeads):
    """Puts zero, or the mean over the same tokens, in the place of chosen heads' output, before the output projection."""

    fill: Literal["zero", "mean"] = Field(
        "zero",
        description="Values in their place: zero, or the mean over the tokens, of text and image separately.",
    )
    rows: Literal["edit", "source", "all"] = Field("edit", description="Rows in which heads are dropped.")

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            InvalidInputError: a head that the model does not have, or no source row where the source's heads shall be dropped.
        """
        if self.rows == "source" and not any(row.is_source for row in context.rows):
            raise InvalidInputError(
                "`rows` 'source' needs a source row, and this run has none. Choose 'edit' or 'all'."
            )
        return _HeadDropoutRun(self, context)


@final
class _HeadDropoutRun(MethodRun):
    def __init__(self, method: HeadDropout, context: RunContext):
        self._method = method
        self._steps = window(method.start, method.stop, context.steps)
        self._heads = heads_by_block(method.heads, context.sites)
        source = method.rows != "edit" and any(row.is_source for row in context.rows)
        self._needs = Needs(attention=frozenset(self._heads), pair=source and bool(self._heads))

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        rows = [place for place, item in enumerate(event.rows) if self._acts_on(item)]
        if not rows:
            return output
        tokens = token_places(event, self._method.tokens)
        heads = indices(tuple(self._heads[event.site.index]), output.device)
        replaced = output.clone()
        for place in rows:
            kept = output[place][heads]
            filled = torch.zeros_like(kept) if self._method.fill == "zero" else _mean(event, kept)
            replaced[place, heads[:, None], tokens] = filled[:, tokens]
        return replaced

    def _acts_on(self, item: BatchRow) -> bool:
        if item.cfg_branch == "unconditional" and self._method.branches == "conditional":
            return False
        return self._method.rows == "all" or (self._method.rows == "source") == item.row.is_source

    def diagnostics(self) -> Mapping[str, Tensor]:
        return {}


def _mean(event: JointAttention, output: Tensor) -> Tensor:
    """Return [heads, tokens, channels]: at every token the mean over its part: text, image, registers or padding."""
    mean = torch.empty_like(output)
    for part in event.layout.parts:
        if part.stop > part.start:
            mean[:, part] = output[:, part].mean(dim=1, keepdim=True)
    return mean
