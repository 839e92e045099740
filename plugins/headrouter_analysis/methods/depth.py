"""Measure how strongly the text holds the image, block by block: arXiv:2411.15034, sec. 3.2."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans


@final
class TextShare(Method):
    """Changes nothing; records the mean over image queries and heads of the attention that each text token gets, by block.

    Every text position counts, padding and special tokens too: models attend to them. The share of all text is the sum over
    positions, and what is left of 1 goes to image tokens.
    """

    @property
    def requires(self) -> frozenset[str]:
        """Require attention alone: words are found afterwards."""
        return frozenset({"joint-attention"})

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run."""
        return _TextShareRun(context)


@final
class _TextShareRun(MethodRun):
    def __init__(self, context: RunContext):
        self._needs, self._means = Needs(attention=frozenset(range(len(context.sites)))), StepMeans(context)

    def needs(self, step: int) -> Needs:
        return self._needs

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        return True

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        length = event.layout.text.stop - event.layout.text.start
        for place, item in enumerate(event.rows):
            if not item.is_edit or not length:
                continue
            total = torch.stack(
                [block.mean(dim=1).sum(dim=0) for _, block in event.text_to_image(place, range(length))]
            )
            self._means.add("text_share", event, item.row, total.sum(dim=0) / event.query.shape[1])
        return output

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``text_share`` [edit, step, block, text position]: a probability; NaN at steps not run."""
        return self._means.means()
