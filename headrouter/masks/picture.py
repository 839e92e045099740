"""Take the user's own mask: a picture or an array, of the size of the edited picture.

It is read when the parameters are made, and becomes part of them, so that the record of an edit holds the mask itself.
"""

import base64
import io
from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.errors import InvalidInputError
from headrouter.imaging.decoding import LARGEST, decoded
from headrouter.masks.context import MaskContext
from headrouter.masks.grids import resampled
from headrouter.masks.mask import Mask, MaskRun
from headrouter.masks.reading import Inside, load_mask

_PREFIX: Final = "data:image/png;base64,"
_MIDDLE: Final = 128
_WHITE: Final = 255
_GRAY: Final = (32, 224)
_MOST_GRAY: Final = 0.1
"""Share of the pixels between black and white above which it is asked what gray means."""


@final
class PictureMask(Mask):
    """Lets an edit act where a picture of the user's is white."""

    picture: str = Field(
        repr=False,
        description="A mask of the picture's size, white where the edit may act: a path, the bytes of a file, a Pillow image or an "
        "array (bool, uint8, floats in [0, 1]). It is held as text, a PNG of gray levels.",
    )
    inside: Inside | None = Field(
        None,
        exclude=True,
        description="Inside of a mask that can be read two ways: `white`, `black`, what is `painted` on a transparent layer, "
        "what is `transparent`, or every number that is not zero (`nonzero`).",
    )
    soft: bool | None = Field(
        None,
        description="Whether gray is a share, half an effect at half; else levels from 128 are inside. Asked where much is gray.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """Read the picture, and hold it as a PNG that is white inside."""
        return read_picture(data) if isinstance(data, Mapping) else data

    @property
    def is_soft(self) -> bool:
        """Return whether gray levels are shares."""
        return bool(self.soft)

    def begin(self, context: MaskContext) -> MaskRun:
        """Take part in a run.

        Raises:
            InvalidInputError: a mask of another size than the picture.
        """
        pixels = pixels_of(self.picture)
        context.refuse_other_size((pixels.shape[1], pixels.shape[0]))
        return PixelsRun(self, context, dict.fromkeys(context.edits, pixels))


@final
class PixelsRun(MaskRun):
    """Gives masks that are known by pixel."""

    def __init__(self, mask: Mask, context: MaskContext, pixels: Mapping[Row, Float[Tensor, "height width"]]):
        """Begin with the pixels of each edit's mask."""
        super().__init__(mask, context)
        self._pixels = pixels
        self._latents: dict[int, Tensor] = {}

    def on_latents(self, row: Row) -> Tensor | None:
        """Return the value on the latents, once for edits of the same mask."""
        pixels = self._pixels[row]
        if id(pixels) not in self._latents:
            self._latents[id(pixels)] = self.context.on_device(resampled(pixels, self.context.grid, self.mask.is_soft))
        return self._latents[id(pixels)]

    def on_picture(self, row: Row, size: tuple[int, int]) -> Tensor | None:
        """Return the pixels."""
        return resampled(self._pixels[row], size, self.mask.is_soft)


def read_picture(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of :class:`PictureMask` with the picture read: text, a PNG that is white inside, and ``soft`` settled.

    Raises:
        InvalidInputError: it cannot be read, it is not plain what it means, or it is black or white everywhere.
    """
    values = dict(data)
    inside, picture, soft = values.pop("inside", None), values.get("picture"), values.get("soft")
    if picture is None:
        return dict(data)
    if isinstance(picture, str) and picture.startswith(_PREFIX) and inside is None:
        pixels_of(picture)  # refuses what is damaged
        return {"soft": False, **values}
    levels = np.asarray(load_mask(picture, inside))
    gray = float(((levels > _GRAY[0]) & (levels < _GRAY[1])).mean())
    if soft is None and gray > _MOST_GRAY:
        raise InvalidInputError(
            f"`mask` is gray in {100 * gray:.0f} % of its pixels. Is gray a share, half an effect at half? Then say "
            "`soft=True`, as in "
            "`PictureMask(picture=..., soft=True)`. Or are levels above the middle inside? Then say `soft=False`."
        )
    kept = Image.fromarray(levels if soft is True else 255 * (levels >= _MIDDLE).astype(np.uint8))
    lowest, highest = kept.getextrema()
    if highest == 0:
        raise InvalidInputError(
            "`mask` is black everywhere, so the edit may act nowhere and the result would be the source. Is black inside? Then say "
            "`inside='black'`."
        )
    if lowest == _WHITE:
        raise InvalidInputError(
            "`mask` is white everywhere, so the edit may act everywhere, as without a mask. Leave it out, or paint black what "
            "shall "
            "stay."
        )
    return {**values, "picture": _as_text(kept if soft is True else kept.convert("1")), "soft": soft is True}


def _as_text(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return _PREFIX + base64.b64encode(buffer.getvalue()).decode()


def pixels_of(text: str) -> Float[Tensor, "height width"]:
    """Return the pixels of a mask that is held as text, in [0, 1].

    Raises:
        InvalidInputError: damaged text, as from a record that was edited, or a picture that is too large.
    """
    try:
        picture = decoded(base64.b64decode(text.removeprefix(_PREFIX), validate=True), LARGEST)
        return torch.from_numpy(np.array(picture.convert("L"), dtype=np.float32) / 255)
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`image`", "`mask`")) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... for damaged data
        raise InvalidInputError(f"`mask` is damaged and cannot be decoded: {error}. Give the picture again.") from error
