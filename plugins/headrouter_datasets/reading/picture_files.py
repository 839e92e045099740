"""Check pictures without keeping them, and hash them."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, JpegImagePlugin

from headrouter.errors import InvalidInputError
from headrouter.files import read_file
from headrouter.imaging.decoding import LARGEST, LARGEST_FILE
from headrouter.imaging.picture import LARGEST_ASPECT, SMALLEST_SIDE, load_picture

_ORIENTATION: Final = 0x0112
_LYING: Final = (5, 6, 7, 8)
"""Values of the orientation that exchange width and height."""
_SCANS: Final = 20
"""Scans of a JPEG up to which an eighth of its size is decoded faster."""


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Holds a picture as a file's path or as a file's bytes.

    Args:
        content: A path, or the bytes that a table has in the place of a file.
    """

    content: Path | bytes

    def read(self) -> Image.Image:
        """Return the picture, RGB in sRGB, upright."""
        return load_picture(self.content)

    def check(self) -> tuple[tuple[int, int], str]:
        """Return width and height, and the hash of the file, which is decoded once.

        Raises:
            InvalidInputError: it is not there, no picture, damaged, or of a size that cannot be edited.
        """
        content = self.content
        if isinstance(content, Path):
            if not content.exists():
                raise InvalidInputError("the picture is not there.")
            content = read_file(content, "image", LARGEST_FILE)
        return _size(content), hashlib.sha256(content).hexdigest()


def _size(content: bytes) -> tuple[int, int]:
    try:
        size = _size_of_jpeg(content) if _is_plain_jpeg(content) else load_picture(content).size
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("`image` (bytes)", "the picture")) from error
    except Exception as error:  # Pillow raises whatever a damaged file makes it meet
        raise InvalidInputError("the picture is damaged, or none.") from error
    short, long = sorted(size)
    if short < SMALLEST_SIDE or long > LARGEST_ASPECT * short:
        raise InvalidInputError(
            f"the picture has {size[0]}x{size[1]} pixels; a side must have at least {SMALLEST_SIDE}, and the longer at most "
            f"{LARGEST_ASPECT:g} times the shorter."
        )
    return size


def _is_plain_jpeg(content: bytes) -> bool:
    return content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") <= _SCANS


def _size_of_jpeg(content: bytes) -> tuple[int, int]:
    """Return the upright size of a JPEG that can be decoded, from decoding it at an eighth of its size."""
    with JpegImagePlugin.JpegImageFile(BytesIO(content)) as picture:
        width, height = picture.size
        if width * height > LARGEST:
            raise InvalidInputError(f"the picture is too large: {width}x{height} pixels, {LARGEST} are read.")
        lies = picture.getexif().get(_ORIENTATION) in _LYING
        picture.draft("RGB", (width // 8, height // 8))
        picture.load()
    return (height, width) if lies else (width, height)
