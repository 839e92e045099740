"""Small colour profiles, written from the definitions of the spaces, and what they mean by plain arithmetic."""

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(x * 65536) for x in _SRGB))


def gamma_curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def xyz_of(primaries):
    """Linear RGB to XYZ under D65, columns red, green, blue."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


def to_d50():
    """Bradford adaptation from D65."""
    white = xyz_of(SRGB).sum(axis=1)
    return np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD


def written(space, tags, *, connection=b"XYZ ", kind=b"mntr"):
    """A profile of these tags."""
    table, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x04300000, kind, space, connection) + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", *(round(x * 65536) for x in D50))
    return head + bytes(128 - len(head)) + body


def xyz(values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(x * 65536) for x in values))


def rgb_profile(primaries, curve=SRGB_CURVE):
    """By three primaries and a curve."""
    columns = to_d50() @ xyz_of(primaries)
    tags = {b"wtpt": xyz(D50)}
    for place, letter in enumerate((b"r", b"g", b"b")):
        tags |= {letter + b"XYZ": xyz(columns[:, place]), letter + b"TRC": curve}
    return written(b"RGB ", tags)


def gray_profile(gamma):
    """By a curve."""
    return written(b"GRAY", {b"wtpt": xyz(D50), b"kTRC": gamma_curve(gamma)})


def cmyk_profile(lab_of_ink):
    """By the L*a*b* of each of the 16 mixtures of whole inks, a mapping from (c, m, y, k)."""
    corners = [lab_of_ink[tuple(int(bit) for bit in f"{number:04b}")] for number in range(16)]
    colours = bytes(round(v) for L, a, b in corners for v in (L * 2.55, a + 128, b + 128))
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + straight * 4 + colours + straight * 3
    return written(b"CMYK", {b"wtpt": xyz(D50), b"A2B0": table}, connection=b"Lab ", kind=b"prtr")


def encoded(linear):
    """8-bit sRGB of linear light."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear_of(pixels, gamma=None):
    """Linear light of 8-bit numbers, by the curve of sRGB or a power."""
    share = np.asarray(pixels, dtype=float) / 255
    if gamma is not None:
        return share**gamma
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def as_srgb(pixels, primaries, gamma=None):
    """What RGB numbers of other primaries look like in 8-bit sRGB."""
    return encoded(linear_of(pixels, gamma) @ (np.linalg.inv(xyz_of(SRGB)) @ xyz_of(primaries)).T)


def lab_as_srgb(lab):
    """What L*a*b* (D50) looks like in 8-bit sRGB."""
    lightness, a, b = lab
    y = (lightness + 16) / 116
    cubes = np.array([y + a / 500, y, y - b / 200])
    values = D50 * np.where(cubes > 6 / 29, cubes**3, (cubes - 4 / 29) * 108 / 841)
    return encoded(np.linalg.inv(xyz_of(SRGB)) @ np.linalg.inv(to_d50()) @ values)
