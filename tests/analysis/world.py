"""The toy, run and overheard."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import torch
from headrouter_analysis.runs import Runs

from headrouter.attention.joint_attention import JointAttention
from headrouter.editing.batch import Edited
from headrouter.methods.method import Method
from headrouter.models.backbone import AttentionListener
from headrouter.testing.toy import ToyMMDiT


class Overhearing(AttentionListener):
    """Passes everything on, after a look at it or a change of it."""

    def __init__(self, listener: AttentionListener, touch: Any):
        self.listener, self.touch = listener, touch

    @property
    def step_info(self) -> Any:
        return self.listener.step_info

    def begin_forward(self, rows: Any, layout: Any) -> None:
        self.listener.begin_forward(rows, layout)

    def attention(self, event: JointAttention) -> torch.Tensor:
        self.touch(event)
        return self.listener.attention(event)

    def text(self, stream: Any) -> torch.Tensor:
        return self.listener.text(stream)


class Touched(ToyMMDiT):
    """A toy whose attention is shown to a function before anybody else hears of it."""

    touch: Any = staticmethod(lambda event: None)

    @contextmanager
    def attach(self, listener: AttentionListener):
        with super().attach(Overhearing(listener, self.touch)):
            yield


def softmax(event: JointAttention) -> torch.Tensor:
    """[rows, heads, S, S], by explicit softmax."""
    logits = event.query.float() @ event.key.float().transpose(-1, -2) * event.scale
    return logits.softmax(-1)


def overheard(
    text_first: bool, prompts: Sequence[str], methods: Sequence[Method], **values: Any
) -> tuple[Edited, list[Any]]:
    """A generation, and of every attention: step, site, batch rows, layout and the full softmax."""
    toy, seen = Touched(text_first=text_first), []
    toy.touch = lambda event: seen.append(
        (event.step_info.step, event.site.index, event.rows, event.layout, softmax(event))
    )
    runs = Runs(toy, size=(16, 24), **{"steps": 3, "guidance": 2.0, **values})
    return runs.generate(prompts, range(len(prompts)), methods), seen
