"""Finds the step in which numbers stop being finite, by one look a step and not one a model call.

What is looked at are sums, in float32 or finer: one operation, and no sum of numbers among which one is NaN or infinite is finite.
Finite numbers whose sum overflows count as infinite.
"""

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.errors import NonFiniteError

Note = tuple[Tensor, Callable[[], NonFiniteError]]
"""The sum of a tensor's numbers, on its device, and the error to raise where that is not finite."""


@final
class FiniteCheck:
    """Notes on the device whether numbers are finite, and reads the notes of a step together.

    Args:
        late: Read them only when the next step ends, so that the device has work while it is waited for.
    """

    def __init__(self, *, late: bool):
        """Begin with a run."""
        self._late = late
        self._notes: list[Note] = []
        self._before: _Reading | None = None

    def note(self, tensor: Tensor, error: Callable[[], NonFiniteError]) -> None:
        """Note whether ``tensor`` is finite; ``error`` makes the error to raise if it is not."""
        self._notes.append((tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32)), error))

    def end_step(self) -> None:
        """End a step.

        Raises:
            NonFiniteError: that of the first note of this step that is not finite; with ``late``, of the step before.
        """
        before, self._before, self._notes = self._before, _Reading(self._notes), []
        if not self._late:
            self.end()
        elif before is not None:
            before.check()

    def end(self) -> None:
        """Read what has not been read yet.

        Raises:
            NonFiniteError: as :meth:`end_step`.
        """
        before, self._before = self._before, None
        if before is not None:
            before.check()


@final
class _Reading:
    """Brings the notes of a step to the CPU."""

    def __init__(self, notes: Sequence[Note]):
        self._errors = [error for _, error in notes]
        self._sums, self._arrival = torch.stack([total for total, _ in notes]), None
        if self._sums.device.type == "cuda":
            stream = torch.cuda.current_stream(self._sums.device)
            self._sums = self._sums.to("cpu", non_blocking=True)
            self._arrival = stream.record_event()

    def check(self) -> None:
        if self._arrival is not None:
            self._arrival.synchronize()
        for total, error in zip(self._sums.tolist(), self._errors, strict=True):
            if not math.isfinite(total):
                raise error()
