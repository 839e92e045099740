"""Show the progress of a run as a bar."""

from typing import Any

from tqdm import tqdm

from headrouter.attention.step_info import Phase
from headrouter.sampling.engine import Progress


def progress_bar(label: str) -> Progress:
    """Return a progress bar that appears with the first step and ends with the last."""
    bars: list[tqdm[Any]] = []

    def progress(phase: Phase, done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, desc=label, unit="step", leave=False, disable=None))
        bars[0].update()
        if done == total:
            bars[0].close()

    return progress
