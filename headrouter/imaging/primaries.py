"""Build colour profiles for pictures that name a colour space without one: gAMA, cHRM, Adobe RGB."""

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Chromaticities = Sequence[float]
"""x and y of white, red, green and blue."""

_SRGB: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB: Final = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_ADOBE_GAMMA: Final = 563 / 256
_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_EXIF_INTEROPERABILITY: Final = 0xA005


def declared_profile(picture: Image.Image) -> bytes | None:
    """Return an ICC profile of the colour space that a picture names; None for sRGB or none."""
    with suppress(Exception):  # damaged EXIF raises whatever it meets, and names nothing
        if picture.info.get("exif") and picture.getexif().get_ifd(_EXIF_INTEROPERABILITY).get(1) == "R03":
            return profile_of(_ADOBE_RGB, _ADOBE_GAMMA)
    gamma, chromaticities = picture.info.get("gamma"), picture.info.get("chromaticity", _SRGB)
    if not isinstance(gamma, float) or gamma <= 0 or "srgb" in picture.info:
        return None
    if abs(gamma * 2.2 - 1) < 0.01 and np.allclose(chromaticities, _SRGB, atol=0.001):
        return None
    with suppress(ValueError, np.linalg.LinAlgError, struct.error, ZeroDivisionError):  # no space has such numbers
        return profile_of(chromaticities, 1 / gamma)
    return None


def profile_of(chromaticities: Chromaticities, gamma: float) -> bytes:
    """Return an ICC profile of a display with these primaries and this gamma (ICC.1, version 4)."""
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in np.reshape(chromaticities, (4, 2)).tolist())
    columns = np.stack(primaries, axis=1)
    adapted = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    columns = np.linalg.inv(_BRADFORD) @ adapted @ _BRADFORD @ (columns * np.linalg.solve(columns, white))
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": _xyz(_D50)}
    for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
        tags |= {letter + b"XYZ": _xyz(column), letter + b"TRC": curve}
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4xI", 128 + len(body), 0x04300000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return (head + _xyz(_D50)[8:]).ljust(128, b"\0") + body


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))
