"""Finds the step in which numbers stop being finite, by one look a step and not one a model call."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.errors import NonFiniteError

Note = tuple[Tensor, Callable[[], NonFiniteError]]
"""Zero, on the device of a tensor, if all its numbers are finite, and the error to raise where it is NaN instead."""


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
        self._notes.append(((tensor * 0).sum(), error))  # half as many operations as to ask of each number

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
        self._zeros, self._arrival = torch.stack([zero for zero, _ in notes]), None
        if self._zeros.device.type == "cuda":
            stream = torch.cuda.current_stream(self._zeros.device)
            self._zeros = self._zeros.to("cpu", non_blocking=True)
            self._arrival = stream.record_event()

    def check(self) -> None:
        if self._arrival is not None:
            self._arrival.synchronize()
        for zero, error in zip(self._zeros.tolist(), self._errors, strict=True):
            if zero != 0:
                raise error()
