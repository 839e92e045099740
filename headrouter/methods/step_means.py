"""Average tensors by edit, step and layer, for what methods report of a run."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.attention.step_mean import Mean
from headrouter.methods.method import RunContext


@final
class StepMeans:
    """Averages tensors over the evaluations of each step, by name, [edit, step, layer, ...], float32, on their device."""

    def __init__(self, context: RunContext):
        """Average over the run in ``context``."""
        self._edits = {row: number for number, row in enumerate(row for row in context.rows if not row.is_source)}
        self._shape = (len(self._edits), context.steps, len(context.sites))
        self._found: dict[str, dict[tuple[int, int, int], Mean]] = {}

    def add(self, name: str, event: JointAttention, row: Row, value: Tensor) -> None:
        """Count one evaluation of ``row``."""
        found, place = self._found.setdefault(name, {}), (self._edits[row], event.step_info.step, event.site.index)
        found[place] = found.get(place, Mean()).plus(value.float())

    def means(self) -> Mapping[str, Tensor]:
        """Return the means on the CPU, NaN where there was no evaluation."""
        return {name: self._table(found) for name, found in self._found.items()}

    def _table(self, found: Mapping[tuple[int, int, int], Mean]) -> Tensor:
        values = torch.stack([mean.value for mean in found.values()]).cpu()  # one transfer
        table = values.new_full((*self._shape, *values.shape[1:]), torch.nan)
        table[tuple(torch.tensor(list(found), device="cpu").T)] = values
        return table
