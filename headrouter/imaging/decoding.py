"""Decode pictures from files, bytes, Pillow images and arrays, under the same limits."""

import os
import struct
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from headrouter.errors import InvalidInputError
from headrouter.files import read_file

FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
"""The formats that are read; Pillow knows more, some of which run other programs."""
LARGEST: Final = 100_000_000
"""Pixels in the largest picture that is read, against decompression bombs."""
LARGEST_SCANS: Final = 500
"""Scans of a JPEG, each of which goes over the whole picture; encoders make about ten."""
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
"""Tags of TIFF."""
LARGEST_FILE: Final = 2**30
"""Bytes of the largest file that is read."""

Source = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.generic]


def decoded(source: Source, largest: int) -> Image.Image:
    """Decode a picture and turn it upright, in its own mode; 16-bit integers and floats become 8 bits.

    Raises:
        InvalidInputError: not a picture, too large, several frames, or numbers whose white is not known.
        Exception: whatever Pillow raises for a damaged file.
    """
    if isinstance(source, np.ndarray):
        return from_array(source, largest)
    if isinstance(source, bytes | Path):
        file = BytesIO(source if isinstance(source, bytes) else read_file(source, "image", LARGEST_FILE))
        picture: Image.Image = _identified(file, source)
    elif isinstance(source, Image.Image):
        picture = source
    else:
        raise InvalidInputError(
            f"`image` must be a path, bytes, a Pillow image or a numpy array (got {type(source).__name__})."
        )
    tags = getattr(picture, "tag_v2", {})
    for size in (picture.size, (tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0))):
        _refuse_large(size, largest, name_of(source))
    if _has_frames(picture):
        raise InvalidInputError(f"`image` {name_of(source)} has several frames; save the one to edit as a picture.")
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if picture.mode[0] not in "IF":
        return upright
    sixteen = picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM")
    return _eight_bits(upright, sixteen)


def from_array(array: npt.NDArray[np.generic], largest: int = LARGEST, *, sixteen: bool = False) -> Image.Image:
    """Make a picture of numbers: uint8, uint16 (16 bits of brightness), or floats in [0, 1].

    Args:
        array: [H, W] or [H, W, 1, 3 or 4].
        largest: Refuse more pixels than this.
        sixteen: Integers are known to be of 16 bits, whatever holds them.
    """
    pixels = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise InvalidInputError(
            f"`image` must be an array of shape [H, W] or [H, W, 1, 3 or 4] (got {list(array.shape)})."
        )
    if 0 in pixels.shape:
        raise InvalidInputError(f"`image` is an empty array (got {list(array.shape)}).")
    _refuse_large((pixels.shape[1], pixels.shape[0]), largest, "(ndarray)")
    if isinstance(pixels, np.ma.MaskedArray):
        raise InvalidInputError("`image` is a masked array; say what masked places hold, by `array.filled(...)`.")
    if pixels.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(pixels))
    top = 1.0 if pixels.dtype.kind == "f" else 65535.0
    if pixels.dtype.kind == "b" or pixels.dtype.kind not in "uif":
        raise InvalidInputError(f"`image` must be an array of uint8, uint16 or floats in [0, 1] (got {pixels.dtype}).")
    if not sixteen and top > 1 and (pixels.dtype.kind, pixels.dtype.itemsize) != ("u", 2):
        raise InvalidInputError(
            f"`image` has integers of {pixels.dtype}, of which it is not known what is white. Where that is 255, give "
            "`array.astype('uint8')`; where it is 65535, `array.astype('uint16')`."
        )
    if not np.isfinite(pixels).all():
        raise InvalidInputError("`image` has values that are not finite; replace every NaN and infinity.")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > top:
        raise InvalidInputError(f"`image` must have values in [0, {top:g}] (got [{low:g}, {high:g}]).")
    if top > 1 and 0 < high < 256:
        raise InvalidInputError(
            f"`image` has 16 bits and no value above {high:g}, which is black. Are these 8 bits? Then give "
            "`array.astype('uint8')`."
        )
    if top > 1:
        return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))
    return Image.fromarray(np.round(pixels.astype(np.float64) * 255).astype(np.uint8))


def _has_frames(picture: Image.Image) -> bool:
    """Return whether a picture has several frames; a GIF is not counted through, which takes long."""
    if picture.format == "MPO":  # a phone's JPEG with a depth map or a preview; the first is the photograph
        return False
    return bool(picture.is_animated if picture.format == "GIF" else getattr(picture, "n_frames", 1) > 1)  # type: ignore[attr-defined]


def name_of(source: Source) -> str:
    """Return the name of a picture in messages."""
    return f"'{source}'" if isinstance(source, Path) else f"({type(source).__name__})"


def _eight_bits(picture: Image.Image, sixteen: bool) -> Image.Image:
    """Return a picture of integers or floats in 8 bits; the value that stands for transparent becomes an alpha channel."""
    values = np.asarray(picture)
    result = from_array(values, sixteen=sixteen)
    if (clear := picture.info.get("transparency")) is not None:
        result.putalpha(Image.fromarray((values != clear).astype(np.uint8) * 255))
    result.info.update({name: value for name, value in picture.info.items() if name == "icc_profile"})
    return result


def _identified(file: BytesIO, source: bytes | Path) -> Image.Image:
    """Return an opened picture of one of the formats; only its header is read.

    :func:`PIL.Image.open` would warn of sizes by a limit that belongs to the whole process.
    """
    if file.getvalue().startswith(b"\xff\xd8") and file.getvalue().count(b"\xff\xda") > LARGEST_SCANS:
        raise InvalidInputError(
            f"`image` {name_of(source)} is a JPEG of more than {LARGEST_SCANS} scans, which takes very long. Save it anew."
        )
    for name in FORMATS:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or (accept is not None and accept(file.getvalue()[:16]) is not True):
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # how Pillow's formats say "not mine"
            continue
        except Image.DecompressionBombError as error:
            raise InvalidInputError(f"`image` {name_of(source)} is too large for its format. Scale it down.") from error
    raise InvalidInputError(
        f"`image` {name_of(source)} is not a picture in a known format ({', '.join(FORMATS)}). Convert it."
    )


def _refuse_large(size: tuple[int, int], largest: int, name: str) -> None:
    if size[0] * size[1] > largest:
        raise InvalidInputError(
            f"`image` {name} is too large: {size[0]}x{size[1]} pixels, {largest} are read. Scale it down."
        )
