"""Generate, invert and reconstruct by plain Euler steps through a pipeline's own parts."""

import itertools
from collections.abc import Sequence

import headrouter_diffusers.quiet  # noqa: F401
import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from jaxtyping import Float

from headrouter_shapes.pipelines.build import ShapesPipeline
from headrouter_shapes.pipelines.prompting import Prompts, encode_prompts, velocity


def noise_levels(pipeline: ShapesPipeline, steps: int) -> list[float]:
    """Return the noise levels of the pipeline's own scheduler from 1 down to 0: steps + 1 of them."""
    if isinstance(pipeline, StableDiffusion3Pipeline):
        pipeline.scheduler.set_timesteps(steps)
    else:
        pipeline.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist())
    levels: list[float] = pipeline.scheduler.sigmas.tolist()
    return levels


@torch.no_grad()
def guided(
    pipeline: ShapesPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    sigma: float,
    prompts: Prompts,
    empty: Prompts,
    guidance: float,
    reference: Float[torch.Tensor, "b c h w"] | None = None,
) -> Float[torch.Tensor, "b c h w"]:
    """Return ``v_empty + guidance · (v_prompt − v_empty)``, classifier-free guidance; 1 needs one call."""
    levels = torch.full((len(latents),), sigma, dtype=torch.float32, device=latents.device)
    conditional = velocity(pipeline, latents, levels, prompts, reference)
    if guidance == 1.0:
        return conditional
    nothing = Prompts(empty.hidden.expand(len(latents), -1, -1), empty.pooled.expand(len(latents), -1))
    unconditional = velocity(pipeline, latents, levels, nothing, reference)
    return torch.lerp(unconditional, conditional, guidance)


@torch.no_grad()
def integrate(
    pipeline: ShapesPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    prompts: Sequence[str],
    *,
    steps: int = 28,
    guidance: float = 1.0,
    invert: bool = False,
    reference: Float[torch.Tensor, "b c h w"] | None = None,
) -> Float[torch.Tensor, "b c h w"]:
    """Integrate the flow from noise to latents, or with ``invert`` from latents to noise.

    ``x ← x + (σ_to − σ_from) · v(x, σ)``. Sampling tells the network the level it is at; inversion tells it the level
    it goes to, the one at which sampling will undo the step. ``reference`` goes to :func:`velocity`.
    """
    encoded, empty = encode_prompts(pipeline, prompts), encode_prompts(pipeline, [""])
    sigmas = noise_levels(pipeline, steps)
    path = sigmas[::-1] if invert else sigmas
    for here, there in itertools.pairwise(path):
        told = there if invert else here
        latents = latents + (there - here) * guided(pipeline, latents, told, encoded, empty, guidance, reference)
    return latents


@torch.no_grad()
def encode_pictures(
    pipeline: ShapesPipeline, pictures: Float[torch.Tensor, "b 3 h w"]
) -> Float[torch.Tensor, "b c h w"]:
    """Return the scaled latents of pictures in [-1, 1]: the posterior's mean, shifted and scaled."""
    config = pipeline.vae.config
    mean: torch.Tensor = pipeline.vae.encode(pictures).latent_dist.mean
    latents: torch.Tensor = (mean - config.shift_factor) * config.scaling_factor
    return latents


@torch.no_grad()
def decode_latents(pipeline: ShapesPipeline, latents: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b 3 h w"]:
    """Return the pictures of scaled latents; about [-1, 1], not clipped."""
    config = pipeline.vae.config
    pictures: torch.Tensor = pipeline.vae.decode(latents / config.scaling_factor + config.shift_factor).sample
    return pictures


def starting_noise(seed: int, count: int, first: int = 0, grid: int = 16) -> Float[torch.Tensor, "b 16 h w"]:
    """Return the noise of pictures ``first`` to ``first + count``, each of its own seed: float32 [B, 16, h, w]."""
    generators = (torch.Generator().manual_seed(seed * 1_000_003 + number) for number in range(first, first + count))
    return torch.stack(
        [
            torch.randn(16, grid, grid, generator=generator, dtype=torch.float32, device="cpu")
            for generator in generators
        ]
    )
