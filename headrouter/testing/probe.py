"""Provide listeners, rows and latents that probe a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow, Row
from headrouter.attention.step_info import StepInfo
from headrouter.models.backbone import AttentionListener, Backbone
from headrouter.prompts.prompt import Prompt
from headrouter.testing.check import expect, fail

SIGMA = 0.7
Size = tuple[int, int]


@dataclass(eq=False)
class Recorder(AttentionListener):
    """Keeps what it hears and changes nothing.

    Attributes:
        events, streams: What was heard, in order.
        layouts: One for each forward pass.
        log_sum_exp: Whether kernels keep the log-sum-exp.
    """

    events: list[JointAttention] = field(default_factory=list)
    streams: list[TextStream] = field(default_factory=list)
    layouts: list[TokenLayout] = field(default_factory=list)
    log_sum_exp: bool = False

    @property
    def forwards(self) -> int:
        """Return the number of forward passes so far."""
        return len(self.layouts)

    @property
    def step_info(self) -> StepInfo:
        """Step information that counts forward passes."""
        return StepInfo("sample", 0, 1, 0, SIGMA, self.forwards)

    def begin_forward(self, rows: tuple[BatchRow, ...], layout: TokenLayout) -> None:
        """Remember the layout."""
        self.layouts.append(layout)

    def attention(self, event: JointAttention) -> Tensor:
        """Remember the event and let it attend."""
        self.events.append(event)
        return event.attend(log_sum_exp=self.log_sum_exp)

    def text(self, stream: TextStream) -> Tensor:
        """Remember the stream and let it pass."""
        self.streams.append(stream)
        return stream.hidden


class Steering(Recorder):
    """Doubles one head of every row, and shrinks the text."""

    def attention(self, event: JointAttention) -> Tensor:
        """Return the output with its last head doubled."""
        output = super().attention(event).clone()
        output[:, -1] *= 2
        return output

    def text(self, stream: TextStream) -> Tensor:
        """Return nine tenths of the text."""
        return super().text(stream) * 0.9


def oblong(backbone: Backbone) -> Size:
    """Return the width and height of a small picture that is wider than high."""
    return 6 * backbone.size_multiple, 4 * backbone.size_multiple


def square(backbone: Backbone) -> Size:
    """Return the width and height of a small square picture."""
    return 4 * backbone.size_multiple, 4 * backbone.size_multiple


def rows_of(backbone: Backbone, *prompts: str, guidance: float = 3.0, negative: str = "") -> list[Row]:
    """Return a source, and edits after it."""
    *texts, nothing = backbone.encode_prompts([*prompts, negative])
    return [Row(text, nothing, guidance, edit=None if index == 0 else index - 1) for index, text in enumerate(texts)]


def latents_of(backbone: Backbone, rows: int = 1, size: Size | None = None, seed: int = 0) -> Tensor:
    """Return Gaussian latents ``[rows, channels, h, w]`` on the backbone's device."""
    shape = backbone.latent_shape(*(size or oblong(backbone)))
    return torch.randn(
        (rows, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float32, device="cpu"
    ).to(backbone.device)


def recorded(backbone: Backbone, latents: Tensor, rows: Sequence[Row], listener: Recorder | None = None) -> Recorder:
    """Evaluate one velocity and return the listener that recorded its events."""
    listener = listener or Recorder()
    with backbone.attach(listener):
        backbone.velocity(latents, SIGMA, rows)
    expect(bool(listener.layouts), "`begin_forward` was not called: the listener heard no forward pass")
    expect(bool(listener.events), "no attention reached the listener")
    return listener


def text_length(layout: TokenLayout) -> int:
    """Return the number of text tokens."""
    return int(layout.text.stop - layout.text.start)


def text_tensors(prompt: Prompt, layout: TokenLayout) -> list[str]:
    """Return names of the prompt's tensors that hold one vector for each text token, ``[1, text tokens, ...]``."""
    length = text_length(layout)
    names = [
        name
        for name, tensor in prompt.tensors.items()
        if tensor.ndim >= 3 and tensor.shape[1] == length and tensor.is_floating_point()
    ]
    shapes = {name: tuple(tensor.shape) for name, tensor in prompt.tensors.items()}
    if not names:
        fail(f"the layout has {length} text tokens, and no tensor of the prompt is [1, {length}, ...]: {shapes}")
    return names


def with_tensors(row: Row, **tensors: Tensor) -> Row:
    """Return a row whose prompt is conditioned on other tensors."""
    return replace(row, prompt=replace(row.prompt, tensors={**row.prompt.tensors, **tensors}))


def shaken(tensor: Tensor, seed: int = 0) -> Tensor:
    """Return a tensor with noise of its own size added."""
    noise = torch.randn(
        tensor.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32, device="cpu"
    ).to(tensor)
    return tensor + noise * tensor.float().std().clamp(min=1e-2).to(tensor.dtype)


def distance(one: Tensor, other: Tensor) -> float:
    """Return the norm of the difference over the norm of the second."""
    return float((one.float() - other.float()).norm() / other.float().norm().clamp(min=1e-12))


def changed_positions(one: Tensor, other: Tensor) -> list[int]:
    """Return the tokens at which ``[rows, heads, tokens, channels]`` differ."""
    return sorted(set((one != other).any(dim=3).flatten(0, 1).any(dim=0).nonzero().flatten().tolist()))
