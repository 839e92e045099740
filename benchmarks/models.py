"""Transformers of the released models' sizes with random weights, behind the ordinary adapters."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from headrouter_diffusers.testing import tiny_autoencoder, tiny_flux, tiny_sd35
from headrouter_flux.parameters import FluxParameters
from headrouter_inversions.euler import Euler
from headrouter_sd3.parameters import SD3Parameters
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.attention.step_info import StepInfo
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.prompts.prompt import Prompt, Token
from headrouter.sampling.dispatch import Dispatcher
from headrouter.sampling.engine import Engine, Sampled
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise

SOURCE = "a photo of a small brown dog that sleeps on a wooden bench in the garden"
TARGET = "a photo of a small black cat that sleeps on a wooden bench in the snow"


@final
@dataclass(frozen=True, slots=True)
class Size:
    """Sizes of a model and of what it is given.

    Attributes:
        heads, width: Attention heads, and channels of each.
        dual, single: Number of blocks with own weights for text and image, and with shared ones.
        text: Text tokens.
        side: Image tokens along a side of the square picture.
        prompt, pooled: Channels of the prompt's tokens and of the pooled prompt.
        rotary: Channels of a head that turn with each of Flux's three positions.
    """

    heads: int = 24
    width: int = 128
    dual: int = 1
    single: int = 0
    text: int = 512
    side: int = 64
    prompt: int = 4096
    pooled: int = 768
    rotary: tuple[int, int, int] = (16, 56, 56)

    @property
    def image(self) -> int:
        """Number of image tokens."""
        return self.side**2

    @property
    def label(self) -> str:
        """What matters to the cost of attention."""
        return f"{self.heads} heads, {self.text} + {self.image} tokens"


FLUX_BLOCK = Size()
"""One double block of FLUX.1-dev, a picture of 1024 × 1024 pixels and the longest prompt."""
FLUX_PAIR = Size(single=1)
FLUX_DEV = Size(dual=19, single=38)
"""All of FLUX.1-dev: 12 billion parameters."""
SD35_MEDIUM = Size(width=64, dual=24, text=333, pooled=2048)
FLUX_SOME = Size(dual=2, single=4)
TINY = Size(heads=4, width=16, dual=1, text=24, side=6, prompt=32, pooled=16, rotary=(4, 6, 6))
TINY_PAIR = Size(heads=4, width=16, dual=2, single=1, text=24, side=6, prompt=32, pooled=16, rotary=(4, 6, 6))
TINY_SD35 = Size(heads=4, width=16, dual=3, text=101, side=6, prompt=32, pooled=32)


def flux_transformer(size: Size) -> FluxTransformer2DModel:
    """Flux's transformer of this size, on PyTorch's default device, in its default precision."""
    return FluxTransformer2DModel(
        in_channels=64,
        num_layers=size.dual,
        num_single_layers=size.single,
        attention_head_dim=size.width,
        num_attention_heads=size.heads,
        joint_attention_dim=size.prompt,
        pooled_projection_dim=size.pooled,
        guidance_embeds=True,
        axes_dims_rope=size.rotary,
    )


def sd35_transformer(size: Size) -> SD3Transformer2DModel:
    """SD3.5's transformer of this size, with image-only attention in the first half of its blocks, as in medium."""
    return SD3Transformer2DModel(
        sample_size=2 * size.side,
        in_channels=16,
        out_channels=16,
        num_layers=size.dual,
        attention_head_dim=size.width,
        num_attention_heads=size.heads,
        joint_attention_dim=size.prompt,
        caption_projection_dim=size.heads * size.width,
        pooled_projection_dim=size.pooled,
        pos_embed_max_size=6 * size.side,
        dual_attention_layers=tuple(range((size.dual + 2) // 2)),
        qk_norm="rms_norm",
    )


def flux(size: Size, dtype: torch.dtype, device: torch.device | str = "cpu", *, seed: int = 0) -> Any:
    """A Flux backbone of this size; its text encoders and autoencoder are tiny and unused."""
    with _making(dtype, device, seed):
        transformer = flux_transformer(size)
    pipeline = tiny_flux(t5_length=size.text)
    vae = tiny_autoencoder(0.1, channels=16).eval().requires_grad_(False)
    pipeline.register_modules(transformer=transformer.eval().requires_grad_(False), vae=vae)
    return FluxParameters().load("random weights", pipeline.to(device))


def sd35(size: Size, dtype: torch.dtype, device: torch.device | str = "cpu", *, seed: int = 0) -> Any:
    """An SD3.5 backbone of this size; the same of its other parts."""
    with _making(dtype, device, seed):
        transformer = sd35_transformer(size)
    pipeline = tiny_sd35(t5_length=size.text - 77)
    vae = tiny_autoencoder(0.1, channels=16).eval().requires_grad_(False)
    pipeline.register_modules(transformer=transformer.eval().requires_grad_(False), vae=vae)
    return SD3Parameters().load("random weights", pipeline.to(device))


@contextmanager
def _making(dtype: torch.dtype, device: torch.device | str, seed: int) -> Iterator[None]:
    """Parameters are drawn where they stay, in the precision in which they stay."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def prompt(text: str, size: Size, device: torch.device | str, seed: int) -> Prompt:
    """An encoded prompt with random channels, one token to a word."""
    generator, tokens, start = torch.Generator().manual_seed(seed), [], 0
    for position, word in enumerate(text.split()):
        tokens.append(Token("t5", position, start, start + len(word)))
        start += len(word) + 1
    tensors = {
        "prompt_embeds": torch.randn(1, size.text, size.prompt, generator=generator).to(device),
        "pooled_prompt_embeds": torch.randn(1, size.pooled, generator=generator).to(device),
    }
    return Prompt(text, tensors, tuple(tokens), {"prompt_embeds": (1,)})


@final
@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """One step of a source and an edit, by the engine: one call of the model."""

    backbone: Backbone
    rows: tuple[Row, ...]
    inputs: RunInputs

    def __call__(self, *methods: Method) -> Sampled:
        """Run it, steered by ``methods``."""
        return Engine(self.backbone).sample(Euler(), methods, self.rows, self.inputs, keep_source=True)

    @contextmanager
    def passes(self, *methods: Method) -> Iterator[Callable[[], Tensor]]:
        """Attach ``methods``, and give the call of the model alone, as often as it is wanted."""
        runs = Engine(self.backbone).begin(Euler(), methods, self.rows, self.inputs)
        dispatcher, step_info = Dispatcher(), StepInfo("sample", 0, 1, 0, 1.0, 0)
        latents = self.inputs.source.expand(len(self.rows), -1, -1, -1)

        def once() -> Tensor:
            dispatcher.enter(step_info, runs)
            return self.backbone.velocity(latents, 1.0, self.rows)

        with self.backbone.attach(dispatcher) if methods else nullcontext():
            yield once


def forward(
    backbone: Backbone, size: Size, *, texts: Sequence[str] = (SOURCE, TARGET), guidance: float = 3.5
) -> Forward:
    """A source and its edits, from random noise."""
    device = backbone.device
    empty = prompt("", size, device, 99)
    encoded = [prompt(text, size, device, seed) for seed, text in enumerate(texts)]
    rows = [Row(one, empty, guidance, edit=None if at == 0 else at - 1) for at, one in enumerate(encoded)]
    noise = Noise([0], (16, 2 * size.side, 2 * size.side), device)
    start = noise("start", 0)
    return Forward(backbone, tuple(rows), RunInputs((1.0, 0.0), start, noise, inverted=start))
