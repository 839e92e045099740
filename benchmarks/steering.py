"""A model's forward pass of a source and an edit with all of HeadRouter, over the same pass plain.

The adapter, the tap, the engine and the method are the ones that edit pictures; the method has its defaults: head routing,
refinement of image tokens, mixing of text (of which one block alone has none). Only the weights are random, and there is one double
block instead of 57 blocks. With fewer heads than FLUX.1-dev's 24 the ratio is larger: what steering adds grows with the
heads, what a block takes nearly with their square.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from benchmarks import models
from benchmarks.figure import Figure
from benchmarks.timing import Case, Progress, alternate
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method
from headrouter.methods.word_maps import WordMaps

GOAL = 1.10


def compare(
    forward: models.Forward,
    label: str,
    rounds: int,
    *,
    goal: float = GOAL,
    maps: bool = False,
    warm_up: int = 1,
    progress: Progress = lambda line: None,
    method: Method | None = None,
) -> Iterator[Figure]:
    """Figures of one model; with ``maps`` also while the words' maps are recorded, as ``Editor.edit`` does by default."""
    device, method = forward.backbone.device, method or HeadRouter()
    steered: dict[str, Case] = {"HeadRouter": lambda: forward(method)}
    if maps:
        steered["HeadRouter and word maps"] = lambda: forward(method, WordMaps())
    times = alternate({"plain": forward, **steered}, rounds, device=device, warm_up=warm_up, progress=progress)
    for case in steered:
        wall = Figure.of("", times.ratios(case, "plain", "wall")).value
        yield Figure.of(
            f"{case}, {label}, over plain",
            times.ratios(case, "plain"),
            goal=("≤", goal) if case == "HeadRouter" else None,
            note=f"{rounds} rounds, on the clock {wall:.3f}" if device.type == "cpu" else f"{rounds} rounds",
        )


def measure(
    progress: Progress,
    *,
    size: models.Size = models.FLUX_BLOCK,
    dtypes: Sequence[torch.dtype] = (torch.bfloat16, torch.float32),
    rounds: int = 5,
) -> Iterator[Figure]:
    """In bfloat16 and in float32, on the CPU."""
    for dtype in dtypes:
        name = str(dtype).removeprefix("torch.")
        progress(f"{name}: drawing weights")
        forward = models.forward(models.flux(size, dtype), size)
        say = partial(_say, progress, name)
        yield from compare(forward, f"{name}, {size.label}", rounds, warm_up=0, progress=say)


def _say(progress: Progress, name: str, line: str) -> None:
    progress(f"{name}: {line}")
