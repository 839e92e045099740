"""Pictures in and out: whatever the user has to RGB, to the size a model works at, to a tensor, and back to a file.

A size is (width, height) in pixels, as in Pillow. A colour profile in the file is not applied.
"""

import math
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from headrouter.errors import InvalidInputError, NonFiniteError
from headrouter.files import path_of, write_whole

FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
"""The formats that are read; Pillow knows more, some of which run other programs."""
LARGEST: Final = 100_000_000
"""Pixels in the largest picture that is read, against decompression bombs."""
SMALLEST_SIDE: Final = 16
LARGEST_ASPECT: Final = 8.0

Source = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.generic]


def load_picture(source: Source, *, background: str = "white", largest: int = LARGEST) -> Image.Image:
    """Read a picture and return it as an RGB image of its own.

    The EXIF orientation is applied. Transparency is composited on ``background``. Palettes, grayscale, CMYK and 16 bits
    per channel become 8-bit RGB. Of several pages or an animation nothing is chosen silently: they are refused.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array [H, W] or [H, W, 1, 3 or 4] of uint8, uint16,
            or floats in [0, 1].
        background: any colour that Pillow names.
        largest: refuse pictures with more pixels than this.

    Raises:
        InvalidInputError: not there, not a picture, damaged, too large, too small, animated, or an array out of range.
    """
    if isinstance(source, str | os.PathLike):
        source = path_of(source, "image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on large or odd files; what matters is refused below
        try:
            picture = _to_rgb(ImageOps.exif_transpose(_open(source, largest)), background)
        except InvalidInputError:
            raise
        except (
            Exception
        ) as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... for a damaged file
            raise InvalidInputError(f"`image` {_name(source)} is damaged and cannot be decoded: {error}.") from error
    if min(picture.size) < SMALLEST_SIDE:
        raise InvalidInputError(
            f"`image` {_name(source)} is {_size(picture.size)} pixels; each side must be at least {SMALLEST_SIDE}."
        )
    return picture


def working_size(
    picture_size: tuple[int, int], target_area: int, multiple: int, largest_aspect: float = LARGEST_ASPECT
) -> tuple[int, int]:
    """The size to edit at: the picture's aspect, about ``target_area`` pixels, both sides multiples of ``multiple``.

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
    """An RGB picture, resized to ``size`` when that differs, as float32 in [-1, 1]."""
    if size is not None and size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1).unsqueeze(0).contiguous()


def to_picture(tensor: Float[Tensor, "*one 3 height width"]) -> Image.Image:
    """The inverse of :func:`to_tensor`: values are clamped to [-1, 1] and rounded to 8 bits.

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
    """Write a picture so that the file is there whole or not at all.

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
    """Make a folder if need be and prove that files can be written there; call it before any work."""
    folder = path_of(path, "output")
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(
            f"the output folder '{folder}' is not writable: {error.strerror or error}. Choose another."
        ) from error
    return folder


@contextmanager
def output_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder as :func:`writable_folder` makes it, for work that may fail: then, if it is new and empty, it goes again."""
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


def psnr(first: Image.Image | npt.NDArray[np.uint8], second: Image.Image | npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures in dB: 10·log10(255² / mean squared error); inf if equal."""
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.dtype != np.uint8 or b.dtype != np.uint8:
        raise InvalidInputError(
            f"PSNR compares 8-bit pictures of one shape (got {a.dtype}{a.shape} and {b.dtype}{b.shape})."
        )
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _open(source: Source, largest: int) -> Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        picture = source
    elif not isinstance(source, bytes | Path):
        raise InvalidInputError(
            f"`image` must be a path, bytes, a Pillow image or a numpy array (got {type(source).__name__})."
        )
    else:
        if isinstance(source, Path) and source.exists() and not (source.is_file() or source.is_dir()):
            raise InvalidInputError(f"`image` {_name(source)} is a device or a pipe; give a picture file.")
        try:
            file = BytesIO(source) if isinstance(source, bytes) else BytesIO(source.read_bytes())
        except OSError as error:
            reason = error.strerror or error
            raise InvalidInputError(f"cannot read `image` {_name(source)}: {reason}. Check the path.") from error
        try:
            picture = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise InvalidInputError(
                f"`image` {_name(source)} is not a picture in a known format ({', '.join(FORMATS)})."
            ) from error
        except Image.DecompressionBombError as error:
            raise InvalidInputError(
                f"`image` {_name(source)} is too large: at most {largest} pixels are read."
            ) from error
    if picture.width * picture.height > largest:
        raise InvalidInputError(
            f"`image` {_name(source)} is too large: {_size(picture.size)} pixels, {largest} are read. Scale it down."
        )
    # A phone's JPEG may carry a second picture (MPO: a depth map, a preview); the first is the photograph.
    if (frames := getattr(picture, "n_frames", 1)) > 1 and picture.format != "MPO":
        raise InvalidInputError(f"`image` {_name(source)} has {frames} frames; save the one to edit as a picture.")
    picture.load()
    return picture


def _to_rgb(picture: Image.Image, background: str) -> Image.Image:
    if picture.mode[0] in "IF":  # 16 bits, which Pillow opens as 32-bit integers from some formats; floats
        return _from_array(np.asarray(picture)).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, background), layer).convert("RGB")
    return picture.convert("RGB")


def _from_array(array: npt.NDArray[np.generic]) -> Image.Image:
    pixels = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise InvalidInputError(
            f"`image` must be an array of shape [H, W] or [H, W, 1, 3 or 4] (got {list(array.shape)})."
        )
    if 0 in pixels.shape:
        raise InvalidInputError(f"`image` is an empty array (got {list(array.shape)}).")
    if pixels.dtype.kind == "f":
        values, top = pixels.astype(np.float64), 1.0
    elif pixels.dtype in (np.uint16, np.int32, np.uint32) or pixels.dtype == np.dtype(">u2"):
        values, top = pixels.astype(np.float64), 65535.0
    elif pixels.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8)))
    else:
        raise InvalidInputError(f"`image` must be an array of uint8, uint16 or floats in [0, 1] (got {pixels.dtype}).")
    if not np.isfinite(values).all():
        raise InvalidInputError("`image` has values that are not finite; replace every NaN and infinity.")
    if values.min() < 0 or values.max() > top:
        raise InvalidInputError(f"`image` must have values in [0, {top:g}] (got [{values.min():g}, {values.max():g}]).")
    return Image.fromarray(np.round(values * (255 / top)).astype(np.uint8))


def _round(side: float, multiple: int) -> int:
    return max(multiple, math.floor(side / multiple + 0.5) * multiple)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _name(source: Source) -> str:
    return f"'{source}'" if isinstance(source, Path) else f"({type(source).__name__})"
