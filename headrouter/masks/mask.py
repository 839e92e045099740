"""Read masks that users give: black-and-white pictures, white where an edit may act.

An ambiguous mask is refused with a question: 0 and 1, colours, and transparency, where some programs paint what is inside
and others wipe it out.
"""

from typing import Final

import numpy as np
from PIL import Image

from headrouter.errors import InvalidInputError
from headrouter.imaging.decoding import Source
from headrouter.imaging.picture import load_picture

_MIDDLE: Final = 128
_CLEAR: Final = 8
"""Levels between a mask on white and on black, above which it is transparent."""
_COLOURED: Final = 64
"""Levels between the channels of a place, above which it is coloured."""


def load_mask(source: Source) -> Image.Image:
    """Read a mask as levels of gray, 255 inside and 0 outside.

    Args:
        source: As for :func:`~headrouter.imaging.picture.load_picture`; an array may also hold truth values.

    Raises:
        InvalidInputError: it cannot be read, or it is not plain what is inside.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.bool_:
        source = source.astype(np.uint8) * 255
    if isinstance(source, np.ndarray) and source.dtype.kind in "ui" and source.size and source.max() == 1:
        raise InvalidInputError(
            "`mask` has no number above 1, and 255 is white. Is 1 inside? Then give `array.astype(bool)`."
        )
    try:
        on_white, on_black = (np.asarray(load_picture(source, background=colour)) for colour in ("white", "black"))
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`image`", "`mask`")) from error
    if (on_white.astype(int) - on_black).max() > _CLEAR:
        raise InvalidInputError(
            "`mask` is transparent in places. Is what was painted inside, or what is transparent? Give it in black and "
            "white: of the opened picture `getchannel('A')` is white where it was painted, and `ImageOps.invert` turns that round."
        )
    if (on_black.max(axis=2).astype(int) - on_black.min(axis=2)).max() > _COLOURED:
        raise InvalidInputError(
            "`mask` has colours. Which of them are inside? Give those in white and the rest in black."
        )
    levels = Image.fromarray(on_black).convert("L")
    brightest = levels.getextrema()[1]
    assert isinstance(brightest, int)
    if 0 < brightest < _MIDDLE:
        raise InvalidInputError(
            f"`mask` has levels up to {brightest} of 255, which all count as black. Which are inside? Give those in white, for "
            "instance by `array > 0`."
        )
    return levels
