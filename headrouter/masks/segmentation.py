"""Take a mask from a function that segments a picture, or from the data set."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, final

import numpy as np
import torch
from PIL import Image
from pydantic import BeforeValidator, Field
from torch import Tensor

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.masks.context import MaskContext
from headrouter.masks.mask import Mask, MaskRun
from headrouter.masks.picture import PictureMask, PixelsRun, pixels_of
from headrouter.plugins.targets import import_target


def _target(value: Any) -> Any:
    """Return the name of a function that can be imported, which a record can hold."""
    if not callable(value):
        return value
    target = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if "<" in target or not all(target.split(":")):
        raise ValueError(
            "the function must be one that can be imported by name, so that the record of an edit can hold it: define it at "
            "the top "
            "of a module, or call it yourself and give the picture that it returns"
        )
    return target


@final
class SegmentationMask(Mask):
    """Lets an edit act where a function of the user's says, for each picture and prompt."""

    function: Annotated[str, BeforeValidator(_target)] = Field(
        pattern=r"^[\w.]+:[\w.]+$",
        description="Function, or its name 'module:function', of picture (Pillow, RGB) and prompt; returns a mask of the "
        "picture's size, see `picture`.",
    )

    @property
    def is_soft(self) -> bool:
        """Return False: what the function returns is taken as hard."""
        return False

    def begin(self, context: MaskContext) -> MaskRun:
        """Segment each picture.

        Raises:
            IncompatibleError: there is no picture.
            InvalidInputError: it fails, or returns no mask of the picture's size.
        """
        if not context.pictures:
            raise IncompatibleError("`mask` 'segmentation' needs a picture to segment, and this run has none.")
        segment: Callable[..., Any] = import_target(self.function, "`mask.function`")
        found = {}
        for row in context.edits:
            picture, prompt = context.pictures[row.image], row.prompt.text
            key = self.function, id(picture), prompt
            if key not in context.kept:
                context.kept[key] = self._segmented(segment, picture, prompt)
            found[row] = context.kept[key]
        return PixelsRun(self, context, found)

    def _segmented(self, segment: Callable[..., Any], picture: Image.Image, prompt: str) -> Tensor:
        try:
            returned = segment(picture.copy(), prompt)
            mask = PictureMask(picture=returned, soft=False)
        except Exception as error:
            raise InvalidInputError(
                f"`mask.function` '{self.function}' failed for the prompt {prompt!r}: {error}"
            ) from error
        pixels = pixels_of(mask.picture)
        if pixels.shape != (picture.height, picture.width):
            raise InvalidInputError(
                f"`mask.function` '{self.function}' must return a mask of the picture's size, "
                f"{picture.width}x{picture.height}, got "
                f"{pixels.shape[1]}x{pixels.shape[0]}."
            )
        return pixels


@final
class RegionMask(Mask):
    """Lets an edit act where the data set says that the right edit changes the picture: a bound for other masks."""

    needs_beside: ClassVar[str] = "a data set with masks"

    @property
    def is_soft(self) -> bool:
        """Return False."""
        return False

    def begin(self, context: MaskContext) -> MaskRun:
        """Take the regions of the edits.

        Raises:
            IncompatibleError: there is no data set, or it does not say.
        """
        found = {}
        for row in context.edits:
            region = context.regions[row.image].get(row.prompt.text) if context.regions else None
            if region is None:
                raise IncompatibleError(
                    f"`mask` 'region' is the region that a data set says the right edit changes, and there is none for the prompt "
                    f"{row.prompt.text!r}. It works in experiments alone, on data sets with masks; give another mask."
                )
            found[row] = torch.from_numpy(np.ascontiguousarray(region)).float()
        return PixelsRun(self, context, found)
