"""Average over steps, each step once, however often the model was called in it."""

from typing import final

from torch import Tensor


@final
class StepMean:
    """Averages over steps the mean within each step.

    >>> import torch
    >>> mean = StepMean()
    >>> for step, value in ((0, 1.0), (0, 3.0), (1, 6.0)):
    ...     mean.add(step, torch.tensor(value))
    >>> mean.mean().item()
    4.0
    """

    def __init__(self) -> None:
        """Begin without values."""
        self._done: Tensor | None = None
        self._steps = 0
        self._step: int | None = None
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, step: int, value: Tensor) -> None:
        """Add one more value of a step; steps come in order."""
        if step != self._step:
            if self._sum is not None:
                self._done, self._steps = self._total(), self._steps + 1
            self._step, self._sum, self._count = step, None, 0
        self._sum = value if self._sum is None else self._sum + value
        self._count += 1

    def mean(self) -> Tensor:
        """Return the mean so far, the present step included."""
        return self._total() / (self._steps + 1)

    def _total(self) -> Tensor:
        """Sum of the means of the steps so far."""
        assert self._sum is not None, "a value first"
        now = self._sum / self._count
        return now if self._done is None else self._done + now
