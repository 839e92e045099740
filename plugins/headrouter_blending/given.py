"""Read a mask and a ranking of blocks that the user gives.

Both are read when parameters are made, and become part of them, so that the record of an edit holds the mask and the numbers
themselves and needs no other file.
"""

import base64
import io
import json
import os
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import BeforeValidator
from torch import Tensor
from torch.nn import functional

from headrouter.errors import InvalidInputError
from headrouter.files import LARGEST_TEXT, path_of, read_file
from headrouter.imaging.decoding import LARGEST, decoded
from headrouter.masks.mask import load_mask

_PREFIX = "data:image/png;base64,"


def _as_text(value: Any) -> Any:
    """Return a black and white PNG as text, from whatever the user has of a mask."""
    if value is None:
        return value
    if isinstance(value, str) and value.startswith(_PREFIX):
        mask_pixels(value)  # refuses what is damaged
        return value
    picture = load_mask(value).point(lambda level: 255 * (level >= 128)).convert("1")
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return _PREFIX + base64.b64encode(buffer.getvalue()).decode()


MaskText = Annotated[str, BeforeValidator(_as_text)]
"""A mask, white where the edit may differ: a path, the bytes of a file, a Pillow image or an array (bool, uint8, floats in [0, 1]).

What can be read two ways is refused, see :mod:`headrouter.masks.mask`. It is held as text, a PNG of black and white.
"""


def mask_pixels(text: str) -> Bool[Tensor, "height width"]:
    """Return the pixels of a mask.

    Raises:
        InvalidInputError: damaged text, as from a record that was edited, or a picture that is too large.
    """
    try:
        picture = decoded(base64.b64decode(text.removeprefix(_PREFIX), validate=True), LARGEST)
        return torch.from_numpy(np.array(picture.convert("1")))
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`image`", "`mask`")) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... for damaged data
        raise InvalidInputError(f"`mask` is damaged and cannot be decoded: {error}. Give the picture again.") from error


def on_latents(pixels: Bool[Tensor, "height width"], size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """Return a mask on latents of ``size``: a cell is in it if any of its pixels is."""
    return functional.adaptive_max_pool2d(pixels[None].float(), size)[0] > 0


def _ranking(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        return value
    text = read_file(path_of(value, "ranking"), "ranking", LARGEST_TEXT)
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the ranking '{value}': {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("blocks"), list):
        raise ValueError(f"the ranking '{value}' must be a JSON object with a list `blocks`, block numbers best first")
    return content["blocks"]


Ranking = Annotated[tuple[int, ...], BeforeValidator(_ranking)]
"""Block numbers, best first; or a JSON file that has them under the key ``blocks``."""
