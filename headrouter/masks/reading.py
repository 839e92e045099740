"""Read masks that users give: pictures and arrays, white where an edit may act unless the user says otherwise.

An ambiguous mask is refused with a question: 0 and 1, colours, and transparency, where some programs paint what is inside
and others wipe it out. ``inside`` answers it.
"""

import os
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from headrouter.errors import InvalidInputError
from headrouter.files import path_of
from headrouter.imaging.decoding import LARGEST, Source, decoded
from headrouter.imaging.picture import load_picture

Inside = Literal["white", "black", "painted", "transparent", "nonzero"]
"""What is inside a mask: white, black, what was painted on a transparent layer, what is transparent, or every number but 0."""

_MIDDLE: Final = 128
_CLEAR: Final = 8
"""Levels between a mask on white and on black, above which it is transparent."""
_COLOURED: Final = 64
"""Levels between the channels of a place, above which it is coloured."""


def load_mask(source: Source, inside: Inside | None = None) -> Image.Image:
    """Read a mask as levels of gray, 255 inside and 0 outside.

    Args:
        source: As for :func:`~headrouter.imaging.picture.load_picture`; an array may also hold truth values.
        inside: Answer to what is inside, where it can be read two ways; white if it is plain.

    Raises:
        InvalidInputError: it cannot be read, or it is not plain what is inside.
    """
    try:
        if inside in ("painted", "transparent"):
            return _alpha(source, inside)
        if inside == "nonzero":
            return _nonzero(source)
        return _levels(source, inside)
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`image`", "`mask`")) from error


def _levels(source: Source, inside: Inside | None) -> Image.Image:
    if isinstance(source, np.ndarray) and source.dtype == np.bool_:
        source = source.astype(np.uint8) * 255
    if isinstance(source, np.ndarray) and source.dtype.kind in "ui" and source.size and source.max() == 1:
        raise InvalidInputError(
            "`mask` has no number above 1, and 255 is white. Is 1 inside? Then give `array.astype(bool)`."
        )
    on_white, on_black = (np.asarray(load_picture(source, background=colour)) for colour in ("white", "black"))
    if inside is None and (on_white.astype(int) - on_black).max() > _CLEAR:
        raise InvalidInputError(
            "`mask` is transparent in places. Is what was painted inside, or what is transparent? Say `inside='painted'` or "
            "`inside='transparent'`, as in `PictureMask(picture=..., inside='painted')`."
        )
    pixels = on_white if inside == "black" else on_black  # what is transparent is outside
    if (pixels.max(axis=2).astype(int) - pixels.min(axis=2)).max() > _COLOURED:
        raise InvalidInputError(
            "`mask` has colours. Which of them are inside? Give those in white and the rest in black."
        )
    levels = Image.fromarray(pixels).convert("L")
    if inside == "black":
        return ImageOps.invert(levels)
    brightest = levels.getextrema()[1]
    assert isinstance(brightest, int)
    if 0 < brightest < _MIDDLE:
        raise InvalidInputError(
            f"`mask` has levels up to {brightest} of 255, which all count as black. Which are inside? Give those in white, for "
            "instance by `array > 0`, or say `inside='nonzero'`."
        )
    return levels


def _alpha(source: Source, inside: Inside) -> Image.Image:
    picture = _opened(source)
    if not picture.has_transparency_data:
        raise InvalidInputError(
            f"`mask.inside` {inside!r} reads the mask from transparency, and this picture has none. Leave `inside` out: white is "
            "inside."
        )
    opacity = picture.convert("LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA").getchannel("A")
    return opacity if inside == "painted" else ImageOps.invert(opacity)


def _nonzero(source: Source) -> Image.Image:
    values = source if isinstance(source, np.ndarray) else np.asarray(_opened(source))
    if values.ndim not in (2, 3):
        raise InvalidInputError(
            f"`image` must be an array of shape [H, W] or [H, W, channels] (got {list(values.shape)})."
        )
    marked: npt.NDArray[np.bool_] = values != 0 if values.ndim == 2 else (values[..., :3] != 0).any(axis=2)
    return Image.fromarray(marked.astype(np.uint8) * 255)


def _opened(source: Source) -> Image.Image:
    given = path_of(source, "mask") if isinstance(source, str | os.PathLike) else source
    try:
        return decoded(given, LARGEST)
    except InvalidInputError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... for a damaged file
        raise InvalidInputError(f"`image` is damaged and cannot be decoded: {error}. Save it anew.") from error
