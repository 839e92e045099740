"""Hands each attention event of a model to the methods that take part in the current step."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.attention.clock import Clock
from headrouter.attention.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow
from headrouter.methods.method import MethodRun, Needs
from headrouter.models.backbone import Listener


@final
class Dispatcher(Listener):
    """The engine's ear in the model."""

    def __init__(self, over: Callable[[], bool] = lambda: False) -> None:
        """Hear nothing until :meth:`enter` says who takes part; ``over`` says whether the run has ended."""
        self._over = over
        self._active: list[tuple[MethodRun, Needs]] = []
        self._watching = False
        self._broken: str | None = None

    @property
    def clock(self) -> Clock:
        """When in the run the model is being evaluated."""
        return self._clock

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self._over()

    def enter(self, clock: Clock, active: Sequence[MethodRun]) -> None:
        """The next forward pass is at this time, with these methods."""
        self._clock = clock
        self._active = [(run, run.needs(clock.step)) for run in active]

    def begin_forward(self, rows: tuple[BatchRow, ...], layout: TokenLayout) -> None:
        """Tell the methods of a new forward pass."""
        for run, _ in self._active:
            run.begin_forward(layout)

    def attention(self, event: JointAttention) -> Tensor:
        """Methods before, the real attention, methods after; in the order of the methods."""
        return self._steered(event, [run for run, needs in self._active if event.site.index in needs.attention])

    def image_attention(self, event: JointAttention) -> Tensor:
        """The same among image tokens alone."""
        return self._steered(event, [run for run, needs in self._active if event.site.index in needs.image_attention])

    def _steered(self, event: JointAttention, acting: Sequence[MethodRun]) -> Tensor:
        for run in acting:
            run.before(event)
        output = event.attend(log_sum_exp=any(run.wants_log_sum_exp(event) for run in acting))
        for run in acting:
            output = run.after(event, output)
        if self._watching and self._broken is None:
            self._look(event, output)
        return output

    def text(self, stream: TextStream) -> Tensor:
        """The text stream as the methods want it to enter the block."""
        for run, needs in self._active:
            if stream.site.index in needs.text:
                stream = TextStream(stream.site, stream.rows, stream.clock, run.text(stream))
        return stream.hidden

    def watch(self) -> None:
        """From now on look for the first attention with numbers that are not finite."""
        self._watching, self._broken = True, None

    def broken(self) -> str:
        """Where numbers first broke, for a message."""
        return self._broken or "after the last attention layer"

    def _look(self, event: JointAttention, output: Tensor) -> None:
        place = f"attention layer {event.site.index} ({event.site.path})"
        if not all(torch.isfinite(tensor).all() for tensor in (event.query, event.key, event.value)):
            self._broken = f"first seen before {place}"
        elif not torch.isfinite(output).all():
            self._broken = f"first seen in {place}"
