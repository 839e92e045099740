"""Editing loops as peers publish them, plain, over a stock pipeline's own parts: RF-Inversion and FlowEdit.

Written from the equations (arXiv:2410.10792, arXiv:2412.08629), with nothing that an edit can do without: no checks, no record, no
steering. They are what headrouter's own loops are compared with, in latents and in time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

Noise = Callable[[str, int], Tensor]
"""Standard Gaussian noise like the latents, by name and step."""
Condition = tuple[Tensor, Tensor]
"""Embedded tokens and pooled embedding of one prompt."""


@final
@dataclass(frozen=True, eq=False)
class Stock:
    """A pipeline for SD3 or Flux that guides in two branches, as its parts.

    Attributes:
        pipeline: Of diffusers.
        length: Number of T5's tokens.
    """

    pipeline: Any
    length: int

    @property
    def flux(self) -> bool:
        """Whether it is Flux, which packs latents."""
        return bool(type(self.pipeline).__name__.startswith("Flux"))

    @cached_property
    def device(self) -> torch.device:
        """Where the transformer computes, asked once: diffusers walks over all modules."""
        return torch.device(self.pipeline.transformer.device)

    def generate(self, prompt: str, size: tuple[int, int], steps: int, guidance: float, seed: int = 0) -> Any:
        """Draw a new picture, as the pipeline does."""
        guide = {"true_cfg_scale": guidance, "negative_prompt": ""} if self.flux else {"guidance_scale": guidance}
        width, height = size
        return self.pipeline(
            prompt,
            width=width,
            height=height,
            num_inference_steps=steps,
            max_sequence_length=self.length,
            generator=torch.Generator().manual_seed(seed),
            **guide,
        ).images[0]

    def sigmas(self, steps: int) -> list[float]:
        """The grid of the pipeline's scheduler, without a shift by size."""
        scheduler = type(self.pipeline.scheduler).from_config(self.pipeline.scheduler.config)
        if self.flux:
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist())
        else:
            scheduler.set_timesteps(steps)
        grid: list[float] = scheduler.sigmas.tolist()
        return grid

    def encode(self, picture: Image.Image) -> Tensor:
        """Latents of a picture."""
        vae = self.pipeline.vae
        pixels = torch.from_numpy(np.array(picture)).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        return (vae.encode(pixels).latent_dist.mode() - vae.config.shift_factor) * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Image.Image:
        """A picture of latents."""
        vae = self.pipeline.vae
        pixels = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor, return_dict=False)[0]
        return self.pipeline.image_processor.postprocess(pixels)[0]

    def condition(self, prompt: str) -> Condition:
        """Encode a prompt."""
        if self.flux:
            tokens, pooled, _ = self.pipeline.encode_prompt(prompt, None, self.device, max_sequence_length=self.length)
        else:
            guided = {"do_classifier_free_guidance": False, "max_sequence_length": self.length}
            tokens, _, pooled, _ = self.pipeline.encode_prompt(prompt, None, None, self.device, **guided)
        return tokens, pooled

    def velocity(self, latents: Tensor, sigma: float, tokens: Tensor, pooled: Tensor) -> Tensor:
        """One call of the transformer."""
        rows, _, height, width = latents.shape
        full, transformer = partial(torch.full, [rows], device=self.device), self.pipeline.transformer
        conditioned = {"encoder_hidden_states": tokens, "pooled_projections": pooled}
        if not self.flux:
            return transformer(latents, timestep=full(1000 * sigma), return_dict=False, **conditioned)[0]
        text, image = _places(tokens.shape[1], height, width, self.device)
        packed = transformer(
            functional.pixel_unshuffle(latents, 2).flatten(2).mT,
            timestep=full(sigma),
            img_ids=image,
            txt_ids=text,
            return_dict=False,
            **conditioned,
        )[0]
        return functional.pixel_shuffle(packed.mT.unflatten(-1, (height // 2, width // 2)), 2)


@cache
def _places(tokens: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places of text and of image tokens, which the loops' authors make once for a run."""
    across, along = (torch.arange(length / 2, device=device) for length in (width, height))
    return torch.zeros(tokens, 3, device=device), torch.cartesian_prod(torch.zeros(1, device=device), along, across)


def stacked(conditions: Sequence[Condition]) -> Condition:
    """Several prompts as one batch."""
    tokens, pooled = zip(*conditions, strict=True)
    return torch.cat(tokens), torch.cat(pooled)


@torch.no_grad()
def rf_inversion(
    stock: Stock,
    picture: Image.Image,
    prompt: str,
    noise: Noise,
    *,
    steps: int,
    guidance: float,
    gamma: float = 0.5,
    eta: float = 0.9,
    stop: int = 7,
) -> tuple[Tensor, Image.Image]:
    """Take the picture to noise under the controller γ, and back to the prompt under η before ``stop``."""
    sigmas, source = stock.sigmas(steps), stock.encode(picture)
    empty, target = stock.condition(""), stock.condition(prompt)
    both = stacked([empty, target])
    latents, end = source, noise("y1", 0)
    for current, following in pairwise(reversed(sigmas)):
        velocity = stock.velocity(latents, following, *empty)
        pull = (end - latents) / (1 - current)
        latents = latents + (following - current) * (velocity + gamma * (pull - velocity))
    for step, (current, following) in enumerate(pairwise(sigmas)):
        without, with_prompt = stock.velocity(latents.expand(2, -1, -1, -1), current, *both).chunk(2)
        velocity = without + guidance * (with_prompt - without)
        if step < stop:
            velocity = velocity + eta * ((latents - source) / current - velocity)
        latents = latents + (following - current) * velocity
    return latents, stock.decode(latents)


@torch.no_grad()
def flow_edit(
    stock: Stock,
    picture: Image.Image,
    source_prompt: str,
    prompt: str,
    noise: Noise,
    *,
    steps: int,
    guidance: float,
    source_guidance: float = 1.5,
    last: int = 22,
) -> tuple[Tensor, Image.Image]:
    """Follow the difference of the velocities of the two prompts for the ``last`` steps."""
    sigmas, source = stock.sigmas(steps), stock.encode(picture)
    empty, before, after = (stock.condition(text) for text in ("", source_prompt, prompt))
    four, latents = stacked([empty, before, empty, after]), source
    for step in range(steps - last, steps):
        current, following = sigmas[step], sigmas[step + 1]
        noised = (1 - current) * source + current * noise("flowedit-0", step)
        edited = latents + noised - source
        velocities = stock.velocity(torch.cat([noised, noised, edited, edited]), current, *four).chunk(4)
        theirs = velocities[0] + source_guidance * (velocities[1] - velocities[0])
        ours = velocities[2] + guidance * (velocities[3] - velocities[2])
        latents = latents + (following - current) * (ours - theirs)
    return latents, stock.decode(latents)
