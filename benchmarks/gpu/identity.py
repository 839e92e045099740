"""A listener that changes nothing leaves every bit as it is."""

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from benchmarks import models
from benchmarks.figure import Figure
from benchmarks.gpu.setting import Setting
from headrouter.attention.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow
from headrouter.attention.step_info import StepInfo
from headrouter.models.backbone import AttentionListener


@final
class PassThrough(AttentionListener):
    """Hears everything, changes nothing, counts the attentions."""

    def __init__(self, log_sum_exp: bool):
        """Keep the log-sum-exp of each attention, or not."""
        self._log_sum_exp, self.heard = log_sum_exp, 0

    @property
    def step_info(self) -> StepInfo:
        """The only step."""
        return StepInfo("sample", 0, 1, 0, 1.0, 0)

    def begin_forward(self, rows: tuple[BatchRow, ...], layout: TokenLayout) -> None:
        """Nothing to do."""

    def attention(self, event: JointAttention) -> Tensor:
        """The attention as it is."""
        self.heard += 1
        return event.attend(log_sum_exp=self._log_sum_exp)

    def text(self, stream: TextStream) -> Tensor:
        """The text as it is."""
        return stream.hidden


def measure(setting: Setting) -> Iterator[Figure]:
    """Numbers that differ in the velocity of a small model of each family, heard against not heard."""
    made = {"flux": (models.flux, setting.pair), "sd3.5": (models.sd35, models.TINY_SD35)}
    for family, (make, size) in made.items():
        setting.progress(f"identity: {family}")
        forward = models.forward(make(size, setting.dtype, setting.device), size)
        yield from of_model(forward, family)


def of_model(forward: models.Forward, label: str) -> Iterator[Figure]:
    """The same of one model."""
    latents = forward.inputs.source.expand(len(forward.rows), -1, -1, -1)
    backbone, rows = forward.backbone, forward.rows
    plain, again = (backbone.velocity(latents, 1.0, rows) for _ in range(2))
    yield Figure(f"{label}, plain twice: numbers that differ", _differing(plain, again), "", note=_of(plain))
    for log_sum_exp in (False, True):
        listener = PassThrough(log_sum_exp)
        with backbone.attach(listener):
            heard = backbone.velocity(latents, 1.0, rows)
        assert listener.heard == len(backbone.sites), "not every attention was heard"
        how = "heard with log-sum-exp" if log_sum_exp else "heard"
        yield Figure(
            f"{label}, {how}: numbers that differ from plain",
            _differing(plain, heard),
            "",
            goal=("=", 0),
            note=_of(plain),
        )


def _differing(first: Tensor, second: Tensor) -> float:
    assert torch.isfinite(first).all(), "the model gives numbers that are not finite"
    return float((first != second).sum())


def _of(tensor: Tensor) -> str:
    return f"of {tensor.numel()}"
