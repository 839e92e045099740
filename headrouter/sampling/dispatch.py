"""Forwards the attention events of a model to the methods of the current step."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow
from headrouter.attention.step_info import StepInfo
from headrouter.methods.method import MethodRun, Needs
from headrouter.models.backbone import AttentionListener


@final
class Dispatcher(AttentionListener):
    """Forwards attention events and text streams to the methods that take part in the current step."""

    def __init__(self, over: Callable[[], bool] = lambda: False) -> None:
        """Forward nothing before :meth:`enter`; ``over`` returns whether the run has ended."""
        self._over = over
        self._active: list[tuple[MethodRun, Needs]] = []
        self._watching = False
        self._broken: str | None = None

    @property
    def step_info(self) -> StepInfo:
        """Return the phase, step and noise level of the current model call."""
        return self._step_info

    @property
    def finished(self) -> bool:
        """Return whether the run has ended."""
        return self._over()

    def enter(self, step_info: StepInfo, active: Sequence[MethodRun]) -> None:
        """Set the time and the methods of the next forward pass."""
        self._step_info = step_info
        self._active = [(run, run.needs(step_info.step)) for run in active]

    def begin_forward(self, rows: tuple[BatchRow, ...], layout: TokenLayout) -> None:
        """Tell the methods of a new forward pass."""
        for run, _ in self._active:
            run.begin_forward(layout)

    def attention(self, event: JointAttention) -> Tensor:
        """Run the methods' ``before``, the model's attention and the methods' ``after``, in the order of the methods."""
        return self._steered(event, [run for run, needs in self._active if event.site.index in needs.attention])

    def image_attention(self, event: JointAttention) -> Tensor:
        """Forward attention among image tokens alone, as :meth:`attention` does joint attention."""
        return self._steered(event, [run for run, needs in self._active if event.site.index in needs.image_attention])

    def _steered(self, event: JointAttention, acting: Sequence[MethodRun]) -> Tensor:
        for run in acting:
            run.before(event)
        for run in acting:
            event.expect(run.text_keys(event))
        output = event.attend(log_sum_exp=any(run.wants_log_sum_exp(event) for run in acting))
        event.lend(output)
        for run in acting:
            output = run.after(event, output)
            event.lend(None)  # a method before may have kept it
        if self._watching and self._broken is None:
            self._look(event, output)
        return output

    def text(self, stream: TextStream) -> Tensor:
        """Return the text stream that enters the block, after every method that changes it."""
        for run, needs in self._active:
            if stream.site.index in needs.text:
                stream = TextStream(stream.site, stream.rows, stream.step_info, run.text(stream))
        return stream.hidden

    def watch(self) -> None:
        """Look, from now on, for the first attention with numbers that are not finite."""
        self._watching, self._broken = True, None

    def broken(self) -> str:
        """Return in words where the first number was not finite."""
        return self._broken or "after the last attention layer"

    def _look(self, event: JointAttention, output: Tensor) -> None:
        place = f"attention layer {event.site.index} ({event.site.path})"
        if not all(torch.isfinite(tensor).all() for tensor in (event.query, event.key, event.value)):
            self._broken = f"first seen before {place}"
        elif not torch.isfinite(output).all():
            self._broken = f"first seen in {place}"
