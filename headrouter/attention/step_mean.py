"""Average tensors over the evaluations of each step, and over steps."""

from dataclasses import dataclass
from typing import final

from torch import Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """Holds the sum of tensors that come one after the other, on their device, and their number.

    >>> import torch
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

    >>> import torch
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
