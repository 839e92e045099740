"""Provide listeners, rows and latents that probe a backbone."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow, Row
from headrouter.attention.step_info import StepInfo
from headrouter.errors import InvalidInputError, PromptWarning
from headrouter.models.backbone import AttentionListener, Backbone
from headrouter.prompts.prompt import Prompt
from headrouter.testing.check import expect, fail
from headrouter.testing.subjects import Generation

SIGMA = 0.7
QUOTED = """a "red" cat's dog"""
_WORDS = ("a", "photo", "of", "the", "red", "cat", "dog")
Size = tuple[int, int]


@dataclass(eq=False)
class Recorder(AttentionListener):
    """Records events and changes nothing.

    Attributes:
        events, streams: Attention events and text streams, in order.
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


def encoded(backbone: Backbone, *texts: str, pictures: Sequence[Tensor] | None = None) -> list[Prompt]:
    """Return encoded prompts, without warnings of what a lesser encoder does not see of them.

    They are encoded with these reference pictures; without any, with those of :func:`needed_pictures`.
    """
    given = needed_pictures(backbone) if pictures is None else pictures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        return backbone.encode_instructions(texts, given) if given else backbone.encode_prompts(texts)


def filling(backbone: Backbone) -> str:
    """Return a prompt that fills the limit of a backbone: a word more is refused, or it has thousands of words."""

    def text(count: int) -> str:
        return " ".join(_WORDS[place % len(_WORDS)] for place in range(count))

    def fits(text: str) -> bool:
        try:
            encoded(backbone, text)
        except InvalidInputError:
            return False
        return True

    low = 1
    while 2 * low <= 2048 and fits(text(2 * low)):
        low *= 2
    high = 2 * low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(text(middle)) else (low, middle)
    longest = text(low)
    while low < 4095 and fits(f"{longest} a"):  # one that takes all 4095 words takes anything
        longest += " a"
    return longest


def two_passes(backbone: Backbone, row: Row) -> bool:
    """Return whether guidance is two evaluations, by the batch size of a guided row."""
    return backbone.batch_size([replace(row, guidance=3.0)]) == 2


def noise_of(backbone: Backbone, asked: Generation) -> Tensor:
    """Return the latents that a generation begins with."""
    shape = backbone.latent_shape(asked.width, asked.height)
    generator = torch.Generator().manual_seed(asked.seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")[None].to(backbone.device)


def euler(
    backbone: Backbone,
    asked: Generation,
    *,
    sign: float = 1.0,
    time: Callable[[float], float] = lambda sigma: sigma,
    grid: Sequence[float] | None = None,
    change: Callable[[Row], Row] = lambda row: row,
    velocity: Callable[[Tensor, float, Sequence[Row]], Tensor] | None = None,
) -> Tensor:
    """Return the latents of a plain generation by Euler's steps, as asked, or with one thing changed.

    Args:
        backbone: Gives velocities and noise levels.
        asked: The generation.
        sign: Factor of velocities.
        time: Maps the noise level of a step to the one that the backbone is given.
        grid: Noise levels, instead of the backbone's.
        change: Makes another row of the row.
        velocity: Gives velocities instead of the backbone.
    """
    latents = noise_of(backbone, asked)
    [row] = rows_of(backbone, asked.prompt, guidance=asked.guidance, negative=asked.negative, pictures=asked.pictures)
    rows = [change(row)]
    levels = backbone.sigmas(asked.steps, asked.width, asked.height).tolist() if grid is None else grid
    for sigma, following in pairwise(levels):
        latents = latents + sign * (following - sigma) * (velocity or backbone.velocity)(latents, time(sigma), rows)
    return latents


def rows_of(
    backbone: Backbone,
    *prompts: str,
    guidance: float = 3.0,
    negative: str = "",
    pictures: Sequence[Tensor] | None = None,
) -> list[Row]:
    """Return a source, and edits after it, with these reference pictures; without any, those of :func:`needed_pictures`."""
    given = needed_pictures(backbone) if pictures is None else pictures
    *texts, nothing = encoded(backbone, *prompts, negative, pictures=given)
    references = tuple(backbone.encode_image(each) for each in given)
    return [
        Row(text, nothing, guidance, edit=None if index == 0 else index - 1, references=references)
        for index, text in enumerate(texts)
    ]


def needed_pictures(backbone: Backbone) -> tuple[Tensor, ...]:
    """Return the reference pictures without which a backbone does not work: one for a model of instructions, else none."""
    return pictures_for(backbone, 1) if "instructions" in backbone.provides else ()


def pictures_for(backbone: Backbone, number: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Return reference pictures in [−1, 1], of 8 bits, of different sizes: wider than high, square, and so on."""
    sides = [((2 + place) * backbone.size_multiple, 3 * backbone.size_multiple) for place in range(number)]
    generator = torch.Generator().manual_seed(seed)
    numbers = [
        torch.randint(256, (1, 3, *side), generator=generator, dtype=torch.int64, device="cpu") for side in sides
    ]
    return tuple((each / 127.5 - 1).to(backbone.device) for each in numbers)


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
    expect(bool(listener.layouts), "`begin_forward` was not called: the listener received no forward pass")
    expect(bool(listener.events), "no attention reached the listener")
    return listener


def text_length(layout: TokenLayout) -> int:
    """Return the number of text tokens."""
    return int(layout.text.stop - layout.text.start)


def text_tensors(prompt: Prompt, layout: TokenLayout) -> list[str]:
    """Return names of the prompt's tensors that hold one vector for each text token, ``[1, text tokens, ...]``."""
    length, axes = text_length(layout), text_axes(prompt, text_length(layout))
    names = [name for name in axes if prompt.tensors[name].ndim >= 3 and prompt.tensors[name].is_floating_point()]
    shapes = {name: tuple(tensor.shape) for name, tensor in prompt.tensors.items()}
    if not names:
        fail(f"the layout has {length} text tokens, and no tensor of the prompt is [1, {length}, ...]: {shapes}")
    return [name for name in names if axes[name] == (1,)]


def text_axes(prompt: Prompt, length: int) -> Mapping[str, tuple[int, ...]]:
    """Return the axes of a prompt's tensors that run over text tokens: what it says, or else those of that length."""
    if prompt.text_axes:
        return prompt.text_axes
    shapes = {name: tensor.shape for name, tensor in prompt.tensors.items()}
    return {name: (1,) for name, shape in shapes.items() if len(shape) >= 2 and shape[1] == length}


def changed_tensor(prompt: Prompt, name: str) -> Tensor:
    """Return one of a prompt's tensors, changed enough to matter: noise added, or a token masked out."""
    tensor = prompt.tensors[name]
    mask = not tensor.is_floating_point() or bool(((tensor == 0) | (tensor == 1)).all())
    axes = prompt.text_axes.get(name, (1,))
    if not mask or tensor.ndim < 2:
        return shaken(tensor)
    changed = tensor.clone()
    first = changed.select(axes[-1], 0)
    first.copy_(first.logical_not())
    return changed


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
