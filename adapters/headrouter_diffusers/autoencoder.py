"""Encode pictures to latents and decode them by the autoencoder of a pipeline.

One picture at a time, so that memory does not grow with their number and no picture depends on another. Latents are scaled as
the transformer is trained: x = (z − shift) · scale, or (z − mean) / deviation of each channel. An autoencoder with a batch
normalisation makes one latent of each patch of 2 × 2, and its running mean and deviation are those of the patches' channels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from headrouter_diffusers import compat


def encode(
    vae: Any, pixels: Float[Tensor, "images 3 height width"], device: torch.device, *, films: bool = False
) -> Float[Tensor, "images channels h w"]:
    """Return the posterior's mode for pictures in [−1, 1], float32; with ``films`` each is a film of one frame."""
    with _full_precision(vae) as dtype:
        given = pixels.to(device, dtype)
        modes = [vae.encode(_film(picture[None], films)).latent_dist.mode().float() for picture in given]
    return _frame(torch.cat(modes), films)


def decode(
    vae: Any, raw: Float[Tensor, "rows channels h w"], device: torch.device, *, films: bool = False
) -> Float[Tensor, "rows 3 height width"]:
    """Return pictures of what :func:`encode` gives, float32 in about [−1, 1], not clipped."""
    with _full_precision(vae) as dtype:
        given = raw.to(device, dtype)
        pictures = [vae.decode(_film(latent[None], films), return_dict=False)[0].float() for latent in given]
    return _frame(torch.cat(pictures), films)


def channels(vae: Any) -> int:
    """Return the number of channels of an autoencoder's latents."""
    return int(vae.config.get("latent_channels") or vae.config.z_dim)


def patches(vae: Any) -> int:
    """Return the side of the square of an autoencoder's values that is one latent: 2 where it has a batch normalisation."""
    return 1 if getattr(vae, "bn", None) is None else 2


def batch_statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation of each channel of patches, each [channels, 1, 1], float32."""
    mean, variance = (each.float().view(-1, 1, 1) for each in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (variance + vae.config.batch_norm_eps).sqrt()


def normalised(vae: Any, raw: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows channels h w"]:
    """Return (z − mean) / deviation of each channel, or (z − shift) · scale, as the autoencoder is configured."""
    if patches(vae) > 1:
        mean, deviation = batch_statistics(vae)
        return (pixel_unshuffle(raw, patches(vae)) - mean) / deviation
    if _by_channel(vae):
        mean, deviation = _statistics(vae, raw)
        return (raw - mean) / deviation
    return (raw - _shift(vae)) * float(vae.config.scaling_factor)


def denormalised(vae: Any, latents: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows channels h w"]:
    """Return the inverse of :func:`normalised`."""
    if patches(vae) > 1:
        mean, deviation = batch_statistics(vae)
        return pixel_shuffle(latents * deviation + mean, patches(vae))
    if _by_channel(vae):
        mean, deviation = _statistics(vae, latents)
        return latents * deviation + mean
    return latents / float(vae.config.scaling_factor) + _shift(vae)


def _by_channel(vae: Any) -> bool:
    return vae.config.get("scaling_factor") is None and vae.config.get("latents_mean") is not None


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation, each [channels, 1, 1]."""
    mean, deviation = (torch.tensor(vae.config[name], dtype=torch.float32) for name in ("latents_mean", "latents_std"))
    return mean.view(-1, 1, 1).to(like.device), deviation.view(-1, 1, 1).to(like.device)


def _shift(vae: Any) -> float:
    return float(vae.config.get("shift_factor") or 0.0)


def _film(picture: Tensor, films: bool) -> Tensor:
    return picture.unsqueeze(2) if films else picture


def _frame(film: Tensor, films: bool) -> Tensor:
    return film.squeeze(2) if films else film


@contextmanager
def _full_precision(vae: Any) -> Iterator[torch.dtype]:
    """Compute in float32 where the autoencoder overflows float16; bfloat16 has float32's range. Gives the number type.

    Afterwards the weights are the very same tensors in memory: whoever holds one goes on holding it.
    """
    dtype = compat.dtype_of(vae)
    if dtype != torch.float16 or not vae.config.get("force_upcast"):
        yield dtype
        return
    kept = [(weight, weight.data) for weight in vae.parameters()]
    try:
        vae.to(torch.float32)
        yield torch.float32
    finally:
        vae.to(torch.float16)
        for weight, half in kept:
            weight.data = half
