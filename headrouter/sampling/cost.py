"""Measure the cost of a run: model calls, rows, seconds, peak memory."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import final

import torch

from headrouter.attention.rows import Row
from headrouter.models.backbone import Backbone


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """Counts what a run took.

    Attributes:
        calls: Evaluations of the model, however many rows each had.
        rows: Rows of all those evaluations together, each branch of guidance counted.
        seconds: Wall-clock time.
        peak_memory: Bytes: the most that was allocated on the accelerator during the run; on the CPU the most that the process
            ever held.
    """

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    peak_memory: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Add the cost of two runs, one after the other."""
        return Cost(
            self.calls + other.calls,
            self.rows + other.rows,
            self.seconds + other.seconds,
            max(self.peak_memory, other.peak_memory),
        )

    def share(self, pictures: int) -> "Cost":
        """Return the share of each of several pictures that were run alike in the same calls."""
        return Cost(self.calls, self.rows // pictures, self.seconds / pictures, self.peak_memory)

    def __str__(self) -> str:
        """Return one line for people.

        >>> print(Cost(56, 84, 12.34, 3 * 2**30))
        56 model calls, 84 rows, 12.3 s, 3.0 GiB at most
        """
        return (
            f"{self.calls} model calls, {self.rows} rows, {self.seconds:.1f} s, "
            f"{self.peak_memory / 2**30:.1f} GiB at most"
        )


@final
class Meter:
    """Measures one run, as a context."""

    def __init__(self, device: torch.device):
        """Measure on ``device``."""
        self._device = device
        self.calls = 0
        self.rows = 0
        self._seconds = 0.0
        self._peak_memory = 0

    def __enter__(self) -> "Meter":
        """Start the clock."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the clock."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._peak_memory = torch.cuda.max_memory_allocated(self._device)
        else:
            if self._device.type == "mps":
                torch.mps.synchronize()
            self._peak_memory = _peak_of_the_process()
        self._seconds = time.perf_counter() - self._started

    def count(self, backbone: Backbone, rows: Sequence[Row]) -> None:
        """Count one call of the model for these rows."""
        self.calls += 1
        self.rows += backbone.batch_size(rows)

    def cost(self) -> Cost:
        """Return what the run took."""
        return Cost(self.calls, self.rows, self._seconds, self._peak_memory)


def _peak_of_the_process() -> int:
    """Return the most memory that the process ever held, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
