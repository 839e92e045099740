"""Models of the released sizes, random weights, a picture of 1024 × 1024 pixels: what steering adds to a forward pass.

A pass is one call of the transformer for a source and an edit. Methods are attached, and have run once, before the time is taken.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from benchmarks import models
from benchmarks.figure import Figure
from benchmarks.gpu import identity
from benchmarks.gpu.setting import Setting
from benchmarks.memory import peak_bytes
from benchmarks.timing import Times, spell
from headrouter.attention.fused import SWITCH
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method
from headrouter.methods.word_maps import WordMaps

GOALS = {"FLUX.1-dev": (1.03, 1.05), "SD3.5-medium": (1.12, 1.12)}
"""Largest ratio of a steered pass over a plain one: by fused kernels, and by plain operations."""
PASSES = 3


@contextmanager
def plain_operations() -> Iterator[None]:
    """Steer without fused kernels."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "0"
    try:
        yield
    finally:
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before


Case = tuple[Sequence[Method], Callable[[], AbstractContextManager[None]]]
CASES: dict[str, Case] = {
    "plain": ((), nullcontext),
    "HeadRouter": ((HeadRouter(),), nullcontext),
    "HeadRouter by plain operations": ((HeadRouter(),), plain_operations),
    "HeadRouter and word maps": ((HeadRouter(), WordMaps()), nullcontext),
}


def flux_dev(setting: Setting) -> Iterator[Figure]:
    """FLUX.1-dev: 19 double and 38 single blocks."""
    yield from _of(setting, "FLUX.1-dev", models.flux, setting.flux)


def sd35_medium(setting: Setting) -> Iterator[Figure]:
    """SD3.5-medium: 24 blocks, guidance in two branches, so four rows."""
    yield from _of(setting, "SD3.5-medium", models.sd35, setting.sd35)


def compiled(setting: Setting) -> Iterator[Figure]:
    """Some blocks of FLUX.1-dev, compiled one by one as diffusers recommends: as exact, and what steering adds."""
    forward = _made(setting, "compiled", models.flux, setting.some)
    with forward.passes(HeadRouter()) as once:
        expected = once()
    forward.backbone.pipeline.transformer.compile_repeated_blocks(  # type: ignore[attr-defined]
        backend="aot_eager" if setting.tiny else "inductor"
    )
    setting.progress("compiled: compiling")
    with forward.passes(HeadRouter()) as once:
        difference = float((once() - expected).norm() / expected.norm())
    name = f"compiled blocks{_tiny(setting)}"
    yield Figure(f"{name}: steered, relative difference from uncompiled", difference, "", goal=("≤", 3e-2))
    yield from _ratios(setting, name, forward, {name: CASES[name] for name in ("plain", "HeadRouter")}, {})


def memory(setting: Setting) -> Iterator[Figure]:
    """Memory of a pass at FLUX.1-dev's size, beyond the weights, by the number of rows."""
    backbone = models.flux(setting.flux, setting.dtype, setting.device)
    for rows in (2, 4, 8):
        texts = [models.SOURCE, *(f"{models.TARGET} {number}" for number in range(rows - 1))]
        forward = models.forward(backbone, setting.flux, texts=texts)
        for what, methods in (("plain", ()), ("HeadRouter", (HeadRouter(),))):
            setting.progress(f"memory: {rows} rows, {what}")
            with forward.passes(*methods) as once:
                once()
                peak = peak_bytes(once, setting.device)
            yield Figure(
                f"FLUX.1-dev{_tiny(setting)}, {rows} rows, {what}: memory beyond the weights", peak / 2**30, "GiB"
            )


def _of(setting: Setting, name: str, make: Callable[..., Any], size: models.Size) -> Iterator[Figure]:
    forward, label = _made(setting, name, make, size), f"{name}{_tiny(setting)}"
    transformer = forward.backbone.pipeline.transformer  # type: ignore[attr-defined]
    yield Figure(f"{label}: parameters", sum(part.numel() for part in transformer.parameters()) / 1e9, "billion")
    fused, plain = GOALS[name]
    goals = {"HeadRouter": fused, "HeadRouter by plain operations": plain}
    yield from _ratios(setting, f"{label}, bfloat16", forward, CASES, {} if setting.tiny else goals)
    yield from identity.of_model(forward, label)


def _made(setting: Setting, name: str, make: Callable[..., Any], size: models.Size) -> models.Forward:
    setting.progress(f"{name}: drawing weights")
    return models.forward(make(size, setting.dtype, setting.device), size)


def _ratios(
    setting: Setting, label: str, forward: models.Forward, cases: dict[str, Case], goals: dict[str, float]
) -> Iterator[Figure]:
    """Passes of each case in turns, over plain ones of the same round."""
    done = []
    for number in range(setting.rounds):
        spells = {}
        for case, (methods, within) in cases.items():
            with within(), forward.passes(*methods) as once:
                once()
                spells[case] = spell(partial(_times, once), setting.device)
        setting.progress(
            f"{label}: round {number + 1}: " + ", ".join(f"{case} {one.wall:.3g} s" for case, one in spells.items())
        )
        done.append(spells)
    times = Times(tuple(done))
    yield Figure(f"{label}: a plain pass", times.seconds("plain") / PASSES, "s", note=f"{len(forward.rows)} rows")
    for case in list(cases)[1:]:
        goal = ("≤", goals[case]) if case in goals else None
        ratios = times.ratios(case, "plain")
        yield Figure.of(f"{label}: {case}, over plain", ratios, goal=goal, note=f"{setting.rounds} rounds")


def _times(once: Callable[[], torch.Tensor]) -> None:
    for _ in range(PASSES):
        once()


def _tiny(setting: Setting) -> str:
    return ", tiny" if setting.tiny else ""
