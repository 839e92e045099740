"""Convert colours to sRGB by the colour profile that a picture carries."""

import warnings
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

from headrouter.errors import PictureWarning
from headrouter.imaging.primaries import declared_profile

_MODES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
"""Pillow's mode for the colours that a profile speaks of."""
_ALIKE: Final = {
    "1": ("L", "RGB"),
    "L": ("L", "RGB"),
    "P": ("RGB",),
    "YCbCr": ("RGB",),
    "HSV": ("RGB",),
    "RGBX": ("RGB",),
}
"""What a mode can be turned into without a profile: gray is a colour too."""


_ALIKE_RGB: Final = {"RGB", *(mode for mode, others in _ALIKE.items() if "RGB" in others)}


def to_srgb(picture: Image.Image, name: str) -> Image.Image:
    """Convert a picture without transparency to sRGB, relative to white and with black kept black.

    Numbers without a profile are taken as sRGB, and so are those whose profile cannot be applied, with a warning, as browsers
    show them. CMYK without a profile has no right answer and is converted by 255 − ink.

    Args:
        picture: Of any mode; what it carries as ``info["icc_profile"]`` is applied, or else the colour space that it names.
        name: Its name in messages.

    Returns:
        A picture of mode RGB, or the given one where nothing is to be done.
    """
    data = picture.info.get("icc_profile") or (declared_profile(picture) if picture.mode in _ALIKE_RGB else None)
    if not data:
        return _by(ImageCms.createProfile("LAB"), "LAB", picture) if picture.mode == "LAB" else picture
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        space = profile.profile.xcolor_space
        mode = _MODES.get(space, space.strip())
        if mode != picture.mode and mode not in _ALIKE.get(picture.mode, ()):
            raise ValueError(f"it is for {mode} and the picture has {picture.mode}")
        return _by(profile, mode, picture)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        warnings.warn(
            f"`image` {name} carries a colour profile that cannot be applied ({error}); its colours are taken as they are.",
            PictureWarning,
            stacklevel=3,
        )
        return to_srgb(_without_profile(picture), name)


def _by(profile: Any, mode: str, picture: Image.Image) -> Image.Image:
    """Convert a picture by a profile; return it unchanged where no colour moves by more than a level."""
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode in ("L", "RGB"):
        probe = _every_colour().convert(mode)
        moved = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int) - np.asarray(probe.convert("RGB"))
        if np.abs(moved).max() <= 1:
            return picture
    result = ImageCms.applyTransform(picture.convert(mode), transform)
    assert result is not None
    return _without_profile(result)


def _every_colour() -> Image.Image:
    """Return a picture with 17 levels of each channel."""
    levels = np.linspace(0, 255, 17).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(cube.reshape(17, 17 * 17, 3))


def _without_profile(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    copy.info = {name: value for name, value in picture.info.items() if name not in ("icc_profile", "gamma", "exif")}
    return copy
