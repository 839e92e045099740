"""Means over the evaluations of each step, for what methods report of a run."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext


@final
class StepMeans:
    """Averages tensors over the evaluations of each step, by name, [edit, step, layer, ...], on the device."""

    def __init__(self, context: RunContext):
        """Average over the run in ``context``."""
        self._edits = {row: number for number, row in enumerate(row for row in context.rows if not row.is_source)}
        self._shape = (len(self._edits), context.steps, len(context.sites))
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, name: str, event: JointAttention, row: Row, value: Tensor) -> None:
        """Count one evaluation of ``row``."""
        if name not in self._sums:
            self._sums[name] = torch.zeros((*self._shape, *value.shape), dtype=torch.float32, device=value.device)
            self._counts[name] = torch.zeros(self._shape, dtype=torch.float32, device="cpu")
        place = (self._edits[row], event.step_info.step, event.site.index)
        self._sums[name][place] += value
        self._counts[name][place] += 1

    def means(self) -> Mapping[str, Tensor]:
        """Return the means on the CPU, NaN where there was no evaluation."""
        found = {}
        for name, total in self._sums.items():
            count = self._counts[name][(...,) + (None,) * (total.ndim - 3)]
            found[name] = torch.where(count > 0, total.cpu() / count, torch.nan)
        return found
