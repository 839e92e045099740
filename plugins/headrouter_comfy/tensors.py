"""Turn ComfyUI's pictures and masks into Pillow pictures and masks, and back.

An IMAGE is a float tensor [B, H, W, C] in [0, 1], with 3 channels or 4; a MASK is a float tensor [B, H, W] in [0, 1], 1 inside.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headrouter.errors import InvalidInputError
from headrouter.masks.mask import Mask
from headrouter.masks.part import mask_of


def pictures_of(images: Float[Tensor, "B H W C"], name: str = "image") -> list[Image.Image]:
    """Return the pictures of an IMAGE, each value rounded to the nearest of 256 levels.

    Raises:
        InvalidInputError: it is no float tensor of this shape, or has values that are not finite.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[-1] not in (3, 4):
        raise InvalidInputError(
            f"`{name}` must be an IMAGE of shape [B, H, W, 3] or [B, H, W, 4] (got {_shape(images)})."
        )
    return [Image.fromarray(one) for one in _levels(images, name)]


def tensor_of(pictures: Sequence[Image.Image]) -> Float[Tensor, "B H W 3"]:
    """Return pictures of one size as an IMAGE."""
    levels = np.stack([np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in pictures])
    return torch.from_numpy(levels / 255)


def mask_tensor_of(pictures: Sequence[Image.Image]) -> Float[Tensor, "B H W"]:
    """Return masks of one size, white inside, as a MASK."""
    levels = np.stack([np.asarray(picture.convert("L"), dtype=np.float32) for picture in pictures])
    return torch.from_numpy(levels / 255)


def masks_of(value: Any, count: int) -> list[Any]:
    """Return the mask of each of some pictures: one for all, or one of a MASK for each.

    Raises:
        InvalidInputError: a MASK of another number of masks.
    """
    if not isinstance(value, Tensor):
        return [value] * count
    if value.ndim != 3 or len(value) not in (1, count):
        raise InvalidInputError(
            f"`mask` must be a MASK of shape [B, H, W] with one mask, or one for each of {count} pictures (got {_shape(value)})."
        )
    return [mask_of_tensor(value[place : place + 1]) for place in (range(count) if len(value) > 1 else [0] * count)]


def mask_of_tensor(value: Any) -> Mask:
    """Return the mask of a MASK with a single mask, whose grays are shares; a mask of this package as it is.

    Raises:
        InvalidInputError: it is neither, has several masks, or is black or white everywhere.
    """
    if isinstance(value, Mask):
        return value
    if not isinstance(value, Tensor) or value.ndim != 3 or len(value) != 1:
        raise InvalidInputError(
            f"`mask` must be a MASK of shape [1, H, W] (got {_shape(value)}). Take one of the batch."
        )
    (levels,) = _levels(value, "mask")
    soft = bool(((levels > 0) & (levels < 255)).any())
    return mask_of({"name": "picture", "picture": levels, "soft": soft})


def _levels(values: Tensor, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    numbers = values.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(numbers).all()):
        raise InvalidInputError(f"`{name}` has values that are not finite. Look at the node that made it.")
    return (numbers.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
