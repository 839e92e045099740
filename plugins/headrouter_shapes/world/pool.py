"""Draw training pictures from a seed, never one of the held-out combinations."""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8

from headrouter_shapes.world.render import render_array
from headrouter_shapes.world.scene import Scene, sample_scene


def training_scenes(seed: int, first: int, count: int) -> list[Scene]:
    """Return scenes ``first`` to ``first + count`` of the endless list that ``seed`` stands for."""
    return [
        sample_scene(np.random.default_rng((seed, number)), held_out=False) for number in range(first, first + count)
    ]


def to_tensor(pictures: npt.NDArray[np.uint8] | UInt8[torch.Tensor, "b h w 3"]) -> Float[torch.Tensor, "b 3 h w"]:
    """Turn uint8 pictures [B, H, W, 3] into what a VAE reads: float32 [B, 3, H, W] in [-1, 1]."""
    return torch.as_tensor(pictures, device="cpu").permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_pictures(tensor: Float[torch.Tensor, "b 3 h w"]) -> npt.NDArray[np.uint8]:
    """Turn what a VAE writes into uint8 pictures [B, H, W, 3]; values outside [-1, 1] are clipped."""
    pictures: npt.NDArray[np.uint8] = (
        ((tensor.detach().float().cpu() + 1.0) * 127.5)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .numpy()
    )
    return pictures


def draw(seed: int, first: int, count: int) -> Float[torch.Tensor, "b 3 h w"]:
    """Return the pictures of :func:`training_scenes` as a tensor in [-1, 1]."""
    return to_tensor(render_array(training_scenes(seed, first, count)))
