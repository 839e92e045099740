"""Put the original pixels of a picture back outside a region."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from headrouter.errors import InvalidInputError

FEATHER: Final = 0.03
"""Width of the seam, as a share of the picture's shorter side, that is enough to hide it on photographs."""
_MIDDLE: Final = 128


def pasted(
    edit: Image.Image, original: Image.Image, area: npt.NDArray[np.uint8], feather: float = FEATHER
) -> Image.Image:
    """Return the edit inside an area and the original outside, to the bit, with a seam between.

    At distance d in pixels outside the area the edit's share is 1 − s(d/f), s(t) = t²·(3 − 2t), f the width of the seam: 1
    inside, 0 from f on. The area is where ``area`` is at least 128.

    Args:
        edit, original: RGB pictures of one size.
        area: [height, width], 255 inside.
        feather: Width of the seam as a share of the shorter side; at least a pixel.
    """
    if not original.size == edit.size == area.shape[::-1]:
        raise InvalidInputError(
            f"`paste` needs picture, edit and mask of one size (got {original.size}, {edit.size} and {area.shape[::-1]})."
        )
    inside = area >= _MIDDLE
    if not inside.any():
        return original.copy()
    distance = ndimage.distance_transform_edt(~inside)
    along = np.clip(distance / max(1.0, feather * min(edit.size)), 0, 1)
    share = (1 - along**2 * (3 - 2 * along))[..., None]
    new, old = (np.asarray(one.convert("RGB"), dtype=np.float64) for one in (edit, original))
    return Image.fromarray(np.round(old + share * (new - old)).astype(np.uint8))
