"""Pack latents into tokens, one for each patch of 2 × 2, for transformers that take a sequence."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


def pack(*latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b tokens packed"]:
    """Return a token for each patch, row by row, with 4 · c channels: those of c, then row and column within the patch.

    The tokens of several latents, of sizes of their own, follow each other.
    """
    return torch.cat([pixel_unshuffle(each, 2).flatten(2).transpose(1, 2) for each in latents], dim=1)


def unpack(packed: Float[Tensor, "b tokens packed"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """Return the inverse of :func:`pack`, for latents of ``height`` × ``width``."""
    rows, _, channels = packed.shape
    return pixel_shuffle(packed.transpose(1, 2).reshape(rows, channels, height // 2, width // 2), 2)


def positions(height: int, width: int, like: Tensor, picture: int = 0) -> Float[Tensor, "tokens 3"]:
    """Return (``picture``, row, column) of each token of latents of ``height`` × ``width``, of the device and dtype of ``like``."""
    rows, columns = (torch.arange(side // 2, dtype=torch.long, device=like.device) for side in (height, width))
    return torch.cartesian_prod(torch.full_like(rows[:1], picture), rows, columns).to(like.dtype)
