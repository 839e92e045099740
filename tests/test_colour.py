"""Colour profiles: what a picture looks like is what is edited, whatever its numbers mean."""

import math
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from colour_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    as_srgb,
    cmyk_profile,
    encoded,
    gamma_curve,
    gray_profile,
    lab_as_srgb,
    linear_of,
    rgb_profile,
)
from PIL import Image, ImageCms

from headrouter.errors import PictureWarning
from headrouter.imaging.picture import load_picture, psnr

P3, ADOBE = rgb_profile(DISPLAY_P3), rgb_profile(ADOBE_RGB, gamma_curve(563 / 256))
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
INKS = {tuple(int(bit) for bit in f"{n:04b}"): (100 * (1 - (n & 1)) * (1 - (n >> 1) / 14), 0, 0) for n in range(16)}
INKS[1, 0, 0, 0] = (60, -30, -45)


def file_of(picture, kind="PNG", **options):
    file = BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def apart(picture, expected):
    """Levels between a picture and what it should be, at most."""
    return np.abs(np.asarray(picture).astype(float) - expected).max()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(("profile", "space"), [(P3, (DISPLAY_P3, None)), (ADOBE, (ADOBE_RGB, 563 / 256))])
def test_wide_colours_become_srgb_in_every_format(kind, profile, space):
    flat = Image.new("RGB", (32, 32), (200, 90, 60))
    options = {"quality": 100} if kind in ("JPEG", "AVIF") else {"lossless": True} if kind == "WEBP" else {}
    loaded = load_picture(file_of(flat, kind, icc_profile=profile, **options))
    assert apart(loaded, as_srgb((200, 90, 60), *space)) < (3 if kind in ("JPEG", "AVIF") else 1.01)
    assert "icc_profile" not in loaded.info, "whoever reads it again must not convert twice"


@pytest.mark.parametrize(("profile", "space"), [(P3, (DISPLAY_P3, None)), (ADOBE, (ADOBE_RGB, 563 / 256))])
def test_every_colour(profile, space):
    assert apart(load_picture(file_of(PICTURE, icc_profile=profile)), as_srgb(PIXELS, *space)) < 1.6


def test_a_pillow_image_carries_its_profile_too():
    opened = Image.open(BytesIO(file_of(PICTURE, icc_profile=P3)))
    assert psnr(load_picture(opened), load_picture(file_of(PICTURE, icc_profile=P3))) == math.inf
    assert opened.info["icc_profile"] == P3, "the caller's is left alone"


@pytest.mark.parametrize(
    "profile", [rgb_profile(SRGB), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_srgb_by_any_name_changes_no_bit(profile):
    for mode in ("RGB", "L", "RGBA"):
        picture = PICTURE.convert(mode)
        assert psnr(load_picture(file_of(picture, icc_profile=profile)), load_picture(picture)) == math.inf


def test_gray_profiles():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    gray = Image.fromarray(levels)
    expected = encoded(linear_of(levels, 1.8))[..., None]
    loaded = load_picture(file_of(gray, icc_profile=gray_profile(1.8)))
    assert apart(loaded, expected) < 1.6
    assert apart(load_picture(file_of(gray.convert("LA"), icc_profile=gray_profile(1.8))), expected) < 1.6
    sixteen = Image.fromarray(levels.astype(np.uint16) * 257)
    assert apart(load_picture(file_of(sixteen, icc_profile=gray_profile(1.8))), expected) < 1.6
    assert apart(load_picture(file_of(gray, icc_profile=P3)), levels[..., None]) <= 1, "gray is gray in every RGB"


def test_palettes_and_transparency():
    colour = (200, 90, 60)
    expected = as_srgb(colour, DISPLAY_P3)
    palette = Image.new("RGB", (20, 20), colour).quantize(4)
    assert apart(load_picture(file_of(palette, icc_profile=P3)), expected) < 1.01
    half = Image.new("RGBA", (20, 20), (*colour, 128))
    mixed = expected * 128 / 255 + 255 * 127 / 255
    assert apart(load_picture(file_of(half, icc_profile=P3)), mixed) < 1.6, "the background is sRGB"
    key = file_of(Image.new("RGB", (20, 20), colour), icc_profile=P3, transparency=colour)
    assert apart(load_picture(key, background="teal"), (0, 128, 128)) == 0


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_by_their_profile(kind):
    profile = cmyk_profile(INKS)
    for inks, lab in [((0, 0, 0, 0), (100, 0, 0)), ((255, 0, 0, 0), (60, -30, -45)), ((0, 0, 0, 255), (0, 0, 0))]:
        file = file_of(Image.new("CMYK", (32, 32), inks), kind, icc_profile=profile)
        assert apart(load_picture(file), lab_as_srgb(lab)) < 4
    bare = load_picture(file_of(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), kind))
    assert apart(bare, (0, 255, 255)) <= 2, "without a profile 255 − ink"


def test_turned_and_converted():
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_picture(file_of(PICTURE, icc_profile=P3, exif=exif))
    assert apart(loaded, as_srgb(np.rot90(PIXELS, -1), DISPLAY_P3)) < 1.6


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(picture, *chunks):
    """A PNG with chunks behind its header."""
    whole = file_of(picture)
    return whole[:33] + b"".join(chunk(*each) for each in chunks) + whole[33:]


GAMMA = (b"gAMA", struct.pack(">I", 55_556))
WIDE = (b"cHRM", struct.pack(">8I", 31270, 32900, *(round(x * 100_000) for pair in DISPLAY_P3 for x in pair)))


def test_colours_that_a_png_names_without_a_profile():
    plain = struct.pack(">I", 45_455)
    assert apart(load_picture(png_with(PICTURE, GAMMA)), as_srgb(PIXELS, SRGB, 1.8)) < 1.6
    assert apart(load_picture(png_with(PICTURE, GAMMA, WIDE)), as_srgb(PIXELS, DISPLAY_P3, 1.8)) < 1.6
    gray = PICTURE.convert("L")
    assert apart(load_picture(png_with(gray, GAMMA)), encoded(linear_of(gray, 1.8))[..., None]) < 1.6
    for chunks in ([(b"gAMA", plain)], [(b"sRGB", b"\0"), GAMMA], [WIDE], [(b"gAMA", bytes(4))]):
        assert psnr(load_picture(png_with(PICTURE, *chunks)), PICTURE) == math.inf
    nonsense = (b"cHRM", bytes(32))
    assert psnr(load_picture(png_with(PICTURE, GAMMA, nonsense)), PICTURE) == math.inf


def test_the_mark_of_cameras_for_adobe_rgb():
    for mark, expected in ((b"R03\0", as_srgb((200, 90, 60), ADOBE_RGB, 563 / 256)), (b"R98\0", (200, 90, 60))):
        exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
        exif += struct.pack("<HHHII", 1, 0xA005, 4, 1, 44) + bytes(4)
        exif += struct.pack("<HHHI4s", 1, 1, 2, 4, mark) + bytes(4)
        flat = Image.new("RGB", (32, 32), (200, 90, 60))
        assert apart(load_picture(file_of(flat, "JPEG", quality=100, exif=exif)), expected) < 3


def test_lab_without_a_profile():
    loaded = load_picture(Image.new("LAB", (20, 20), (153, 98, 83)))
    assert apart(loaded, lab_as_srgb((60, -30, -45))) < 3


BROKEN = {
    "noise": bytes(range(256)) * 3,
    "cut": P3[:150],
    "cut in its tags": P3[:-20],
    "no tags": P3[:128] + bytes(4),
    "of CMYK": cmyk_profile(INKS),
    "of gray": gray_profile(2.2),
    "of another kind": P3[:12] + b"link" + P3[16:],
    "of unknown colours": P3[:16] + b"7CLR" + P3[20:],
    "a word": b"sRGB",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_cannot_be_applied_is_told(name):
    file = file_of(PICTURE, icc_profile=BROKEN[name])
    with pytest.warns(
        PictureWarning, match=r"`image` \(bytes\) carries a colour profile that cannot be applied \(.+\)"
    ):
        loaded = load_picture(file)
    assert psnr(loaded, PICTURE) == math.inf


def test_a_profile_of_another_type():
    picture = PICTURE.copy()
    picture.info["icc_profile"] = "sRGB"
    with pytest.warns(PictureWarning):
        assert psnr(load_picture(picture), PICTURE) == math.inf


def test_damaged_profiles_are_read_or_told():
    generator = np.random.default_rng(1)
    told = 0
    for profile in (P3, ADOBE, gray_profile(1.8), cmyk_profile(INKS)):
        base = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}[profile[16:20]]
        for _ in range(40):
            damaged = bytearray(profile)
            for place in generator.integers(0, min(len(damaged), 400), 3):
                damaged[place] = generator.integers(256)
            picture = PICTURE.convert(base)
            picture.info["icc_profile"] = bytes(damaged)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                assert load_picture(picture).mode == "RGB"
            told += any(issubclass(each.category, PictureWarning) for each in seen)
    assert told > 20
