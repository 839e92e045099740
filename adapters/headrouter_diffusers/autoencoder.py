"""Pictures to latents and back, by the autoencoder of a pipeline.

Latents are scaled as the transformer is trained: x = (z − shift) · scale. One picture at a time, so that memory does
not grow with their number and no picture depends on another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def encode(vae: Any, pixels: Float[Tensor, "images 3 height width"], device: torch.device) -> Tensor:
    """Latents of pictures in [−1, 1]: the mode of the posterior, scaled, float32."""
    with _full_precision(vae):
        pixels = pixels.to(device, vae.dtype)
        modes = [vae.encode(picture[None]).latent_dist.mode().float() for picture in pixels]
    return (torch.cat(modes) - _shift(vae)) * float(vae.config.scaling_factor)


def decode(vae: Any, latents: Float[Tensor, "rows channels h w"], device: torch.device) -> Tensor:
    """Pictures of scaled latents, float32 in about [−1, 1], not clipped."""
    with _full_precision(vae):
        unscaled = (latents.float() / vae.config.scaling_factor + _shift(vae)).to(device, vae.dtype)
        pictures = [vae.decode(latent[None], return_dict=False)[0].float() for latent in unscaled]
    return torch.cat(pictures)


def _shift(vae: Any) -> float:
    return float(vae.config.get("shift_factor") or 0.0)


@contextmanager
def _full_precision(vae: Any) -> Iterator[None]:
    """Compute in float32 where the autoencoder overflows float16; bfloat16 has float32's range.

    Afterwards the weights are the very same tensors in memory: whoever holds one goes on holding it.
    """
    if vae.dtype != torch.float16 or not vae.config.get("force_upcast"):
        yield
        return
    kept = [(weight, weight.data) for weight in vae.parameters()]
    try:
        vae.to(torch.float32)
        yield
    finally:
        vae.to(torch.float16)
        for weight, half in kept:
            weight.data = half
