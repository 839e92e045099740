"""An edit of each bundled model on the device, from a picture to a picture: twice the same to the bit, and as on the CPU.

Then how often it makes the program wait for the device, and what it costs over the stock pipeline and peers' loops.

Text encoders, autoencoder, inversion, HeadRouter and word maps, in float32. Where the weights are not there, which need not travel,
it is a fresh pipeline of the same configuration, with random ones.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks import edits
from benchmarks.figure import Figure, attempt
from benchmarks.gpu.setting import Setting

FAMILIES: Final = ("sd3.5", "flux")
STEPS: Final = 8
LEAST: Final = 40.0
"""PSNR in dB of the device's picture to the CPU's: convolutions on a GPU round to ten bits unless told otherwise."""


def measure(setting: Setting) -> Iterator[Figure]:
    """Each of the families, by `rf` and by `flowedit`."""
    for family in FAMILIES:
        setting.progress(f"edits: {family}")
        yield from attempt(f"edit of {family}", partial(of_family, setting, family))


def over_stock(setting: Setting) -> Iterator[Figure]:
    """Each family's edits over its stock pipeline's generation, and over peers' loops."""
    yield from edits.measure(
        lambda line: setting.progress(f"bundled: {line}"),
        families=_families(setting),
        rounds=setting.rounds,
        steps=2 if setting.tiny else 28,
        inversions=("flowedit",) if setting.tiny else ("rf", "flowedit"),
        backbones=lambda family: (
            edits.editor(family, "euler", None, model=None, pipeline=pipeline(family)[0].to(setting.device)).backbone
        ),
    )


def waits(setting: Setting) -> Iterator[Figure]:
    """How often a step of an edit makes the program wait for the device, by what PyTorch warns of."""
    steps = 2 if setting.tiny else STEPS
    for family in _families(setting):
        given, note = pipeline(family)
        for inversion in ("flowedit",) if setting.tiny else ("rf", "flowedit"):
            setting.progress(f"waits: {family} by {inversion}")
            counted = []
            for number in (steps, steps, 2 * steps):  # the first compiles kernels
                with _waits() as seen:
                    picture(given, family, inversion, str(setting.device), number)
                counted.append(seen)
            more = Counter(counted[2]) - Counter(counted[1])
            setting.progress(
                f"{family} by {inversion}: {len(counted[1])} waits in {steps} steps; more in twice: {dict(more)}"
            )
            yield Figure(
                f"edit of {family} by {inversion} + HeadRouter: waits for the device, a step",
                (len(counted[2]) - len(counted[1])) / steps,
                "",
                goal=("≤", 1),
                note=f"{len(counted[1])} in {steps} steps, {note}",
            )


def _families(setting: Setting) -> tuple[str, ...]:
    return FAMILIES[:1] if setting.tiny else FAMILIES


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Note where the program waits; on a device that does not say so there are none."""
    seen: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            if torch.cuda.is_available():
                torch.cuda.set_sync_debug_mode("default")
    seen += [
        f"{Path(one.filename).name}:{one.lineno}"
        for one in caught
        if "synchronizing CUDA operation" in str(one.message)
    ]


def of_family(setting: Setting, family: str) -> Iterator[Figure]:
    """One family."""
    (given, note), steps = pipeline(family), 2 if setting.tiny else STEPS
    for inversion in ("rf", "flowedit"):
        expected = picture(given, family, inversion, "cpu", steps)
        first, again = (picture(given, family, inversion, str(setting.device), steps) for _ in range(2))
        what = f"edit of {family} by {inversion} + HeadRouter"
        differing = float((first != again).sum())
        yield Figure(
            f"{what}: values that differ the second time", differing, "", goal=("=", 0), note=f"of {first.size}, {note}"
        )
        error = float(np.square(first - expected).mean())
        psnr = float(10 * np.log10(255**2 / error)) if error else 99.0
        yield Figure(f"{what}: PSNR to the CPU's picture", psnr, "dB", goal=("≥", LEAST), note=note)


def picture(given: Any, family: str, inversion: str, device: str, steps: int) -> Any:
    """The edited picture, as floats."""
    from headrouter import Editor

    editor = Editor(family, inversion, "headrouter", pipeline=given.to(device), progress=False)
    result = editor.edit(
        edits.picture(), edits.TARGET, edits.SOURCE, steps=steps, guidance=edits.GUIDANCE, size=edits.picture().size
    )
    return np.array(result.image, dtype=np.float64)


def pipeline(family: str) -> tuple[Any, str]:
    """A bundled pipeline, or where its weights are not there a random one, and which it is."""
    from headrouter_shapes.pipelines.autoencoder import build_autoencoder
    from headrouter_shapes.pipelines.build import build_pipeline
    from headrouter_shapes.weights import model_path

    from headrouter import Editor

    if any(model_path(family).rglob("*.safetensors")):
        loaded: Any = Editor(family, "euler", None, model="shapes", device="cpu", dtype="float32", progress=False)
        return loaded.backbone.pipeline, "bundled weights"
    torch.manual_seed(0)
    fresh = build_pipeline(family, build_autoencoder().eval().requires_grad_(False))
    for parameter in fresh.transformer.requires_grad_(False).eval().parameters():
        parameter.normal_(std=0.05)
    for part in fresh.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return fresh, "random weights"
