"""Show the progress of a run in ComfyUI, and end the run when its user interrupts it."""

from typing import Any

from headrouter.attention.step_info import Phase
from headrouter.sampling.engine import Progress


def comfy_progress() -> Progress:
    """Return a function for each step: it moves the bar of the running node, and raises ComfyUI's interruption.

    The bar begins anew with each part of a run: first the inversion, then the edit.
    """
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bars: list[Any] = []

    def progress(phase: Phase, done: int, total: int) -> None:
        if done == 1:
            bars[:] = [ProgressBar(total)]
        bars[0].update_absolute(done, total)
        throw_exception_if_processing_interrupted()

    return progress
