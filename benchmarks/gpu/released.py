"""Models of the released sizes, random weights, a picture of 1024 × 1024 pixels."""

from collections.abc import Iterator

import torch

from benchmarks import models, steering
from benchmarks.figure import Figure
from benchmarks.gpu import identity
from benchmarks.gpu.setting import GOAL, Setting
from benchmarks.timing import spell
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.word_maps import WordMaps


def flux_dev(setting: Setting) -> Iterator[Figure]:
    """FLUX.1-dev: 19 double and 38 single blocks."""
    setting.progress("flux-dev: drawing weights")
    yield from _of(
        setting, "FLUX.1-dev", models.forward(models.flux(setting.flux, setting.dtype, setting.device), setting.flux)
    )


def sd35_medium(setting: Setting) -> Iterator[Figure]:
    """SD3.5-medium: 24 blocks, guidance in two branches, so four rows."""
    setting.progress("sd3.5-medium: drawing weights")
    yield from _of(
        setting, "SD3.5-medium", models.forward(models.sd35(setting.sd35, setting.dtype, setting.device), setting.sd35)
    )


def _of(setting: Setting, name: str, forward: models.Forward) -> Iterator[Figure]:
    name += ", tiny" if setting.tiny else ""
    transformer = forward.backbone.pipeline.transformer  # type: ignore[attr-defined]
    count = sum(parameter.numel() for parameter in transformer.parameters())
    yield Figure(f"{name}: parameters", count / 1e9, "billion")
    setting.progress(f"{name}: identity")
    yield from identity.of_model(forward, name)
    label = f"{name}, bfloat16"

    def say(line: str) -> None:
        setting.progress(f"{name}: {line}")

    yield from steering.compare(forward, label, setting.rounds, goal=GOAL, maps=True, progress=say)
    spell(forward, setting.device)
    plain = forward()
    steered = forward(HeadRouter(), WordMaps())
    assert torch.isfinite(steered.latents).all()
    for what, sampled in (("plain", plain), ("HeadRouter and word maps", steered)):
        yield Figure(
            f"{name}: peak memory, {what}", sampled.cost.peak_memory / 2**30, "GiB", note=f"{sampled.cost.rows} rows"
        )
