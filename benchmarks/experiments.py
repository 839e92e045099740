"""What an experiment's runner costs beside model calls and metrics, on drawings and the bundled model."""

import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, final
from unittest.mock import patch

from headrouter_shapes.bench.dataset import Shapes, ShapesMetric

from benchmarks.figure import Figure
from benchmarks.timing import Progress
from headrouter.editing.assembly import backbone_of
from headrouter.experiments.composing import configure
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.running.editing import loading
from headrouter.experiments.running.measuring import Metrics
from headrouter.experiments.running.runner import run

GOAL = 20.0
FEW, MANY = 8, 40


@final
class Inside:
    """Seconds of the processor within some functions, one inside another counted once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*rest: Any, **others: Any) -> Any:
            began, self._depth = time.thread_time(), self._depth + 1
            try:
                return function(*rest, **others)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.thread_time() - began

        return call


def beside(count: int) -> tuple[int, float]:
    """Run two configurations on so many drawings; the number of cells, and seconds of the processor beside the models'."""
    inside = Inside()

    def loaded(*rest: Any, **others: Any) -> Any:
        backbone, record = backbone_of(*rest, **others)
        for name in ("velocity", "encode_prompts", "encode_image", "decode"):
            setattr(backbone, name, inside.timed(getattr(backbone, name)))
        return backbone, record

    chosen = [
        configure(name, "sd3.5", "rf", None, model="shapes", steps=2, keep=keep)
        for name, keep in (("a", 0.3), ("b", 0.9))
    ]
    experiment = Experiment("overhead", Shapes(count=count), {"shapes-1": ShapesMetric()}, tuple(chosen))
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(loading, "backbone_of", inside.timed(loaded)),
        patch.object(Metrics, "measure", inside.timed(Metrics.measure)),
    ):
        began = time.process_time()
        records = run(experiment, folder, device="cpu", progress=False)
        return len(records), time.process_time() - began - inside.seconds


def measure(progress: Progress, *, rounds: int = 3) -> Iterator[Figure]:
    """What each further cell adds: records, pictures, claims, batches, kept inversions, the engine's own work."""
    added = []
    for number in range(-1, rounds):
        (few, start), (many, whole) = beside(FEW), beside(MANY)
        progress(f"round {number + 1} of {rounds}: {few} cells {start:.2f} s, {many} cells {whole:.2f} s")
        if number >= 0:
            added.append(1000 * (whole - start) / (many - few))
    note = f"{rounds} rounds, {MANY} drawings minus {FEW}, two configurations of 2 steps that share inversions"
    yield Figure.of(
        "processor beside model calls and metrics, each cell", added, unit="ms", goal=("≤", GOAL), note=note
    )
