"""Average over the evaluations of a step and over steps, for what methods report of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """Holds the sum of tensors that come one after the other, on their device, and their number.

    >>> Mean().plus(torch.tensor(1.0)).plus(torch.tensor(4.0)).value.item()
    2.5
    """

    total: Tensor | None = None
    count: int = 0

    def plus(self, value: Tensor) -> "Mean":
        """Return the mean with one more value."""
        return Mean(value if self.total is None else self.total + value, self.count + 1)

    @property
    def value(self) -> Tensor:
        """Return the mean."""
        assert self.total is not None, "a value first"
        return self.total / self.count


@final
class StepMean:
    """Averages over steps the mean within each step: a step counts once, however often the model was asked in it.

    >>> mean = StepMean()
    >>> for step, value in ((0, 1.0), (0, 3.0), (1, 6.0)):
    ...     mean.add(step, torch.tensor(value))
    >>> mean.mean().item()
    4.0
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._before, self._step, self._now = Mean(), -1, Mean()

    def add(self, step: int, value: Tensor) -> None:
        """Count one more value of a step; steps come in order."""
        if step != self._step:
            self._before, self._step, self._now = self._all(), step, Mean()
        self._now = self._now.plus(value)

    def mean(self) -> Tensor:
        """Return the mean so far, the present step included."""
        return self._all().value

    def _all(self) -> Mean:
        return self._before.plus(self._now.value) if self._now.count else self._before


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
