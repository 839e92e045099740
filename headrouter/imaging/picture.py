"""Load pictures as RGB, resize them for a model, convert them to tensors and back, and save them.

A size is (width, height) in pixels, as in Pillow. Colours are sRGB.
"""

import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image, PngImagePlugin
from torch import Tensor

from headrouter.errors import InvalidInputError, NonFiniteError
from headrouter.files import UNFINISHED, path_of, write_whole
from headrouter.imaging.colour import to_srgb
from headrouter.imaging.decoding import FORMATS, LARGEST, Source, decoded, name_of

__all__ = [
    "FORMATS",
    "LARGEST",
    "Source",
    "load_picture",
    "output_folder",
    "psnr",
    "save_picture",
    "to_picture",
    "to_tensor",
    "working_size",
    "writable_folder",
]

SMALLEST_SIDE: Final = 16
LARGEST_ASPECT: Final = 8.0


def load_picture(source: Source, *, background: str = "white", largest: int = LARGEST) -> Image.Image:
    """Read a picture and return it as an RGB image of its own, in sRGB.

    The EXIF orientation is applied, and the colour profile that the picture carries. Transparency is composited on
    ``background``. Palettes, grayscale, CMYK and 16 bits per channel become 8-bit RGB. Of several pages or an animation nothing is
    chosen silently: they are refused.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array [H, W] or [H, W, 1, 3 or 4] of uint8, uint16,
            or floats in [0, 1].
        background: any colour that Pillow names.
        largest: refuse pictures with more pixels than this.

    Raises:
        InvalidInputError: not there, not a picture, damaged, too large, too small, animated, or numbers of which it is not known
            what is white.
    """
    if isinstance(source, str | os.PathLike):
        source = path_of(source, "image")
    try:
        colours, alpha = _separated(decoded(source, largest))
    except InvalidInputError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... for a damaged file
        raise InvalidInputError(
            f"`image` {name_of(source)} is damaged and cannot be decoded: {error}. Save it anew."
        ) from error
    if min(colours.size) < SMALLEST_SIDE:
        raise InvalidInputError(
            f"`image` {name_of(source)} is {_size(colours.size)} pixels; each side must be at least {SMALLEST_SIDE}. Scale it up."
        )
    flat = to_srgb(colours, name_of(source)).convert("RGB")
    return flat if alpha is None else Image.composite(flat, Image.new("RGB", flat.size, background), alpha)


def _separated(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours without transparency, and the opacity, if some pixels are not opaque."""
    if not picture.has_transparency_data:
        return picture, None
    layer = picture.convert("LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA")
    layer.info.pop("transparency", None)
    return layer.convert(layer.mode[:-1]), layer.getchannel("A")


def working_size(
    picture_size: tuple[int, int], target_area: int, multiple: int, largest_aspect: float = LARGEST_ASPECT
) -> tuple[int, int]:
    """Return the size to edit at: the picture's aspect, about ``target_area`` pixels, sides multiples of ``multiple``.

    Each side is the ideal one, sqrt(target_area · aspect^±1), rounded to the nearest multiple, at least one multiple.

    >>> working_size((4000, 3000), target_area=1024 * 1024, multiple=16)
    (1184, 880)
    """
    width, height = picture_size
    if min(picture_size) < 1:
        raise InvalidInputError(f"`picture_size` must be positive (got {_size(picture_size)}).")
    if multiple < 1 or target_area < multiple**2:
        raise InvalidInputError(
            f"`target_area` must hold {multiple}x{multiple} pixels, and `multiple` be positive (got {target_area})."
        )
    if max(picture_size) > largest_aspect * min(picture_size):
        raise InvalidInputError(
            f"`image` is {_size(picture_size)} pixels; the longer side may be {largest_aspect:g} times the shorter. "
            "Crop it."
        )
    ideal = math.sqrt(target_area * width / height), math.sqrt(target_area * height / width)
    return _round(ideal[0], multiple), _round(ideal[1], multiple)


def to_tensor(picture: Image.Image, size: tuple[int, int] | None = None) -> Float[Tensor, "1 3 height width"]:
    """Return an RGB picture, resized to ``size`` when that differs, as float32 in [-1, 1]."""
    if size is not None and size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1).unsqueeze(0).contiguous()


def to_picture(tensor: Float[Tensor, "*one 3 height width"]) -> Image.Image:
    """Turn a tensor into a picture: clamp its values to [-1, 1] and round them to 8 bits.

    Raises:
        InvalidInputError: not of shape [3, H, W] or [1, 3, H, W].
        NonFiniteError: a NaN or an infinity in it.
    """
    pixels = tensor.detach().to("cpu", torch.float32)
    pixels = pixels[0] if pixels.ndim == 4 and pixels.shape[0] == 1 else pixels
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise InvalidInputError(f"`tensor` must have the shape [3, H, W] or [1, 3, H, W] (got {list(tensor.shape)}).")
    if not bool(torch.isfinite(pixels).all()):
        raise NonFiniteError("the decoded picture has values that are not finite; try `dtype` float32 or bfloat16.")
    bytes_HWC = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(bytes_HWC.contiguous().numpy())


def save_picture(picture: Image.Image, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a picture whole or not at all.

    Args:
        picture: what to write.
        path: the suffix chooses the format; an existing file is replaced.
        metadata: text chunks, PNG only.
    """
    path = Path(path)
    image_format = Image.registered_extensions().get(path.suffix.lower())
    if image_format is None or image_format not in Image.SAVE:
        raise InvalidInputError(f"`path` must end in the suffix of a picture format, e.g. .png (got {str(path)!r}).")
    options: dict[str, object] = {}
    if metadata:
        if image_format != "PNG":
            raise InvalidInputError(f"`metadata` can be written into PNG files only (got {str(path)!r}).")
        chunks = PngImagePlugin.PngInfo()
        for key, text in metadata.items():
            chunks.add_itxt(key, text)
        options["pnginfo"] = chunks
    file = BytesIO()
    try:
        picture.save(file, format=image_format, **options)
    except OSError as error:
        raise InvalidInputError(f"cannot write '{path}': {error.strerror or error}.") from error
    return write_whole(path, file.getvalue())


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and prove that files can be written there, before any work is done."""
    folder = path_of(path, "output")
    probe = folder / f"{UNFINISHED}{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"the output folder '{folder}' is not writable: {error.strerror or error}. Choose another."
        ) from error
    return folder


@contextmanager
def output_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder for work that may fail; on failure remove it if it is new and empty."""
    folder = path_of(path, "output")
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    writable_folder(folder)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # not empty: what was written is whole
            for each in new:
                each.rmdir()
        raise


def psnr(
    first: Image.Image | npt.NDArray[np.uint8], second: Image.Image | npt.NDArray[np.uint8], *, most: float = math.inf
) -> float:
    """Return the peak signal-to-noise ratio of 8-bit pictures: 10·log10(255² / mean squared error) dB, at most ``most``.

    Of equal pictures it is ``most``.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.dtype != np.uint8 or b.dtype != np.uint8:
        raise InvalidInputError(
            f"PSNR compares 8-bit pictures of one shape (got {a.dtype}{a.shape} and {b.dtype}{b.shape})."
        )
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return most if error == 0 else min(most, 10 * math.log10(255**2 / error))


def _round(side: float, multiple: int) -> int:
    return max(multiple, math.floor(side / multiple + 0.5) * multiple)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
