"""Watch a method while it runs for tensors that it writes into, and for the outputs it must give."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.attention.rows import Row
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.testing.check import expect


@final
class Watched(Method):
    """Wraps a method and checks that it leaves the tensors it is given as they are."""

    method: Method

    @property
    def requires(self) -> frozenset[str]:
        return self.method.requires

    def begin(self, context: RunContext) -> MethodRun:
        return _WatchedRun(self.method.begin(context), context)


class _WatchedRun(MethodRun):
    def __init__(self, run: MethodRun, context: RunContext):
        self.run, self.sites = run, {site.index for site in context.sites}
        self.known = [run.needs(step) for step in range(context.steps)]

    def needs(self, step: int) -> Needs:
        needs = self.run.needs(step)
        expect(needs == self.known[step], f"`needs({step})` changes from {self.known[step]} to {needs}")
        unknown = sorted((needs.attention | needs.text) - self.sites)
        expect(not unknown, f"`needs({step})` names sites {unknown} that the model does not have")
        return needs

    def before(self, event: JointAttention) -> None:
        given = {name: getattr(event, name) for name in ("query", "key", "value")}
        kept = {name: tensor.clone() for name, tensor in given.items()}
        self.run.before(event)
        for name, tensor in given.items():
            expect(torch.equal(tensor, kept[name]), f"`before` writes into the event's {name}; assign a new tensor")
            new = getattr(event, name)
            expect(new.dtype == tensor.dtype, f"`before` assigns a {name} of {new.dtype} for {tensor.dtype}")

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        return self.run.text_keys(event)

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        return self.run.wants_log_sum_exp(event)

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        kept = output.clone()
        event.lend(None)
        answer = self.run.after(event, output)
        expect(torch.equal(output, kept), "`after` writes into the output it is given; make a new tensor")
        expect(answer.shape == output.shape, f"`after` gives {tuple(answer.shape)} for {tuple(output.shape)}")
        expect(answer.dtype == output.dtype, f"`after` gives {answer.dtype} for {output.dtype}")
        return answer

    def text(self, stream: TextStream) -> Tensor:
        kept = stream.hidden.clone()
        answer = self.run.text(stream)
        expect(torch.equal(stream.hidden, kept), "`text` writes into the stream; make a new tensor")
        expect(answer.shape == kept.shape, f"`text` gives {tuple(answer.shape)} for {tuple(kept.shape)}")
        return answer

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        kept = latents.clone()
        answer = self.run.end_step(step, latents, rows)
        expect(torch.equal(latents, kept), "`end_step` writes into the latents; make a new tensor")
        return answer

    def begin_forward(self, layout: TokenLayout) -> None:
        self.run.begin_forward(layout)

    def diagnostics(self) -> Mapping[str, Tensor]:
        return self.run.diagnostics()
