"""Map where each word acts: attention of image tokens to words, averaged over a run."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TokenLayout, indices
from headrouter.methods.method import Method, MethodRun, Needs, RunContext


@final
class WordMaps(Method):
    """Changes nothing; records A[i, j] of image query i and text key j for every word of every edit's prompt.

    Mean over the heads of each layer, over layers, and over the steps, so a value is a probability: the share of its attention
    that an image token gives to one text token. The paper's analysis 3.2 (arXiv:2411.15034) at the resolution of the token grid.
    """

    @property
    def requires(self) -> frozenset[str]:
        """Require positions of words."""
        return frozenset({"joint-attention", "prompt-words"})

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run."""
        return _WordMapsRun(context)


@final
class _WordMapsRun(MethodRun):
    def __init__(self, context: RunContext):
        self._needs = Needs(attention=frozenset(site.index for site in context.sites))
        edits = [row for row in context.rows if not row.is_source]
        self._numbers = {row: number for number, row in enumerate(edits)}
        self._positions = max((max(row.prompt.positions, default=-1) + 1 for row in edits), default=0)
        self._sum: Tensor | None = None
        self._count = 0

    def needs(self, step: int) -> Needs:
        return self._needs

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        return True

    def begin_forward(self, layout: TokenLayout) -> None:
        self._count += 1

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        for place, item in enumerate(event.rows):
            positions = item.row.prompt.positions
            if item.is_edit and positions:
                total = sum(block.sum(dim=0) for _, block in event.text_to_image(place, positions))
                assert isinstance(total, Tensor)
                self._accumulate(event, self._numbers[item.row], positions, total.T / event.query.shape[1])
        return output

    def _accumulate(self, event: JointAttention, edit: int, positions: tuple[int, ...], maps: Tensor) -> None:
        rows, columns = event.layout.grid
        if self._sum is None:
            self._sum = torch.zeros(
                len(self._numbers), self._positions, rows, columns, dtype=maps.dtype, device=maps.device
            )
        self._sum[edit].index_add_(
            0, indices(positions, maps.device), maps.view(-1, rows, columns) / len(self._needs.attention)
        )

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``text_maps`` [edit, text position, grid row, grid column]; zero at positions that hold no word."""
        if self._sum is None:
            return {}
        return {"text_maps": self._sum.cpu() / max(1, self._count)}
