"""Measurements of a known load: the figures above are meaningful where these meet their goals.

Seconds of work are those of the processor: a sleep takes next to none, and a load the same however busy the machine is.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks import models, startup, steering
from benchmarks.figure import Figure
from benchmarks.timing import Progress, spell
from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.method import Method, MethodRun, Needs, RunContext

LOAD = 0.2
"""Seconds of work of the known load."""


def spin(seconds: float) -> None:
    """Work for so long, as the processor counts it."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


class Slow(Method):
    """Changes nothing, and works for :data:`LOAD` at each attention of the first step."""

    @property
    def requires(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        """A run of it."""
        return _SlowRun()


class _SlowRun(MethodRun):
    def needs(self, step: int) -> Needs:
        return Needs(attention=frozenset({0}))

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        spin(LOAD)
        return output

    def diagnostics(self) -> dict[str, Any]:
        return {}


def measure(progress: Progress, *, rounds: int = 5) -> Iterator[Figure]:
    """A load and a sleep, a slow method, and a busy process."""
    cpu, note = torch.device("cpu"), f"{rounds} rounds"
    for what, case, goal in (("work", spin, ("≤", 1.1)), ("sleep", time.sleep, ("≤", 0.1))):
        seen = [spell(lambda: case(LOAD), cpu).work / LOAD for _ in range(rounds)]  # noqa: B023
        progress(f"{what}: {seen}")
        yield Figure.of(f"{what} of {LOAD} s, as it is measured", seen, goal=goal, note=note)
    forward = models.forward(models.flux(models.TINY, torch.float32), models.TINY)
    (slow,) = steering.compare(forward, "tiny", rounds, method=Slow(), progress=progress)
    assert slow.value is not None
    yield Figure(f"a method that works {LOAD} s at each attention, over plain", slow.value, goal=("≥", 2), note=note)
    busy = [startup.fresh(["-c", "sum(range(10**7))"]).work / startup.fresh(["-c", ""]).work for _ in range(rounds)]
    yield Figure.of("a process that adds up ten million numbers, over an idle one", busy, goal=("≥", 2), note=note)
