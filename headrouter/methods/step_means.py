"""Average tensors by edit, step and layer, for what methods report of a run."""

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext


@final
class StepMeans:
    """Averages tensors over the evaluations of each step, by name, [edit, step, layer, ...], float32.

    Tensors stay where they are until the means are asked for: adding them up one by one would start an operation for each.
    """

    def __init__(self, context: RunContext):
        """Average over the run in ``context``."""
        self._edits = {row: number for number, row in enumerate(row for row in context.rows if not row.is_source)}
        self._shape = (len(self._edits), context.steps, len(context.sites))
        self._found: dict[str, list[tuple[tuple[int, int, int], Tensor, int]]] = {}

    def add(self, name: str, event: JointAttention, row: Row, value: Tensor, number: int = 1) -> None:
        """Count one evaluation of ``row``; ``value``, which may be a sum of a ``number``, must stay as it is."""
        place = self._edits[row], event.step_info.step, event.site.index
        self._found.setdefault(name, []).append((place, value, number))

    def means(self) -> Mapping[str, Tensor]:
        """Return the means on the CPU, NaN where there was no evaluation."""
        return {name: self.mean(name) for name in self._found}

    def mean(self, name: str, of: Callable[[Tensor, Tensor], Tensor] = lambda values, numbers: values) -> Tensor:
        """Return the mean of one name, or of a function of all values ``[evaluation, ...]`` and numbers ``[evaluation]``."""
        places, found, numbers = zip(*self._found[name], strict=True)
        values, counted = torch.stack(found).cpu().float(), torch.tensor(numbers, dtype=torch.float32, device="cpu")
        values = of(values, counted).double()  # one transfer; threads add float32 in any order
        total = values.new_zeros(*self._shape, *values.shape[1:])
        count, at = values.new_zeros(self._shape), tuple(torch.tensor(places, device="cpu").T)
        total.index_put_(at, values, accumulate=True)
        count.index_put_(at, values.new_ones(len(values)), accumulate=True)
        return (total / count.reshape(*self._shape, *(1 for _ in values.shape[1:]))).float()  # 0 / 0 is NaN

    def __contains__(self, name: str) -> bool:
        """Return whether there is any evaluation of a name."""
        return name in self._found
