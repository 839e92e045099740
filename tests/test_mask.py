"""Masks: white is inside, and what can be read two ways is asked about, never guessed."""

import base64
import json
import os
from io import BytesIO

import numpy as np
import pytest
from headrouter_analysis.analyses.masks import read_masks
from headrouter_analysis.profile import Profile
from PIL import Image, ImageDraw
from test_picture import bomb

from headrouter.editing.assembly import methods_of
from headrouter.editing.record_file import read_record
from headrouter.errors import InvalidInputError
from headrouter.masks.part import mask_of
from headrouter.masks.picture import PictureMask, pixels_of
from headrouter.masks.reading import load_mask

HALF = np.arange(32)[None].repeat(24, 0) < 12
LEVELS = Image.fromarray(HALF.astype(np.uint8) * 255)


def file_of(picture, kind="PNG", **options):
    file = BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def strokes(ground, colour):
    """A layer with something painted on it."""
    layer = Image.new("RGBA", (32, 24), ground)
    ImageDraw.Draw(layer).rectangle((0, 0, 11, 23), fill=colour)
    return layer


PLAIN = {
    "truth": HALF,
    "uint8": HALF.astype(np.uint8) * 255,
    "uint16": HALF.astype(np.uint16) * 65535,
    "floats": HALF.astype(np.float32),
    "channels": HALF[..., None].repeat(3, 2).astype(np.uint8) * 255,
    "opaque": LEVELS.convert("RGBA"),
    "png": file_of(LEVELS),
    "png of a bit": file_of(LEVELS.convert("1")),
    "png of a palette": file_of(LEVELS.convert("P")),
    "jpeg": file_of(LEVELS, "JPEG", quality=60),
    "soft": np.clip((12 - np.arange(32)) / 8 + 0.5, 0, 1)[None].repeat(24, 0),
}


@pytest.mark.parametrize("name", PLAIN)
def test_white_is_inside(name):
    assert np.array_equal(np.asarray(load_mask(PLAIN[name])) >= 128, HALF) or name == "soft"
    if name != "soft":
        assert np.array_equal(pixels_of(mask_of(PLAIN[name]).picture).numpy() == 1, HALF)


def labels(colours):
    """A picture of classes, the second one coloured as segmentation data sets do."""
    picture = Image.fromarray(HALF.astype(np.uint8))
    picture.putpalette([0, 0, 0, *colours])
    return picture


ASKED = {
    "0 and 1": (HALF.astype(np.uint8), r"no number above 1, .* Is 1 inside\? Then give `array.astype\(bool\)`"),
    "0 and 1 of int64": (HALF.astype(np.int64), "Is 1 inside"),
    "0 and 1 of uint16": (HALF.astype(np.uint16), "Is 1 inside"),
    "all 1": (np.ones((24, 32), np.uint8), "Is 1 inside"),
    "255 in 16 bits": (HALF.astype(np.uint16) * 255, "Are these 8 bits"),
    "255 in int64": (HALF.astype(np.int64) * 255, "it is not known what is white"),
    "a file of 0 and 1": (file_of(Image.fromarray(HALF.astype(np.uint8))), r"levels up to 1 of 255.* `array > 0`"),
    "a file of 16 bits": (file_of(Image.fromarray(HALF.astype(np.uint16))), "Are these 8 bits"),
    "classes": (HALF.astype(np.uint8) * 3, "levels up to 3 of 255"),
    "gray": (HALF.astype(np.uint8) * 100, "levels up to 100"),
    "a palette of dark red": (file_of(labels((128, 0, 0))), r"has colours. Which of them are inside\?"),
    "red on black": (strokes("black", "red"), "has colours"),
    "red on white": (strokes("white", "red"), "has colours"),
    "painted in alpha": (
        strokes((0, 0, 0, 0), "black"),
        r"transparent in places\. Is what was painted inside, or what is transparent\? Say `inside='painted'`",
    ),
    "wiped out in alpha": (strokes("white", (0, 0, 0, 0)), "transparent in places"),
    "strokes of white": (strokes((0, 0, 0, 0), "white"), "transparent in places"),
    "strokes of white on clear white": (strokes((255, 255, 255, 0), "white"), "transparent in places"),
    "half clear": (strokes((0, 0, 0, 128), "white"), "transparent in places"),
    "gray with alpha": (file_of(strokes((0, 0, 0, 0), "black").convert("LA")), "transparent in places"),
    "a clear entry of a palette": (file_of(LEVELS.convert("P"), transparency=0), "transparent in places"),
    "webp with alpha": (file_of(strokes((0, 0, 0, 0), "black"), "WEBP", lossless=True), "transparent in places"),
    "an array with alpha": (np.asarray(strokes((0, 0, 0, 0), "black")), "transparent in places"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_can_be_read_two_ways_is_asked(name):
    mask, question = ASKED[name]
    with pytest.raises(InvalidInputError, match=f"`mask` .*{question}"):
        load_mask(mask)
    with pytest.raises(InvalidInputError, match=question):
        methods_of("local-blend", {"mask": mask})


ANSWERED = {
    "0 and 1": ("nonzero", HALF),
    "0 and 1 of int64": ("nonzero", HALF),
    "a file of 0 and 1": ("nonzero", HALF),
    "classes": ("nonzero", HALF),
    "painted in alpha": ("painted", HALF),
    "wiped out in alpha": ("transparent", HALF),
    "strokes of white": ("white", HALF),
    "gray with alpha": ("painted", HALF),
    "an array with alpha": ("painted", HALF),
    "uint8": ("black", ~HALF),
    "opaque": ("black", ~HALF),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_the_question_can_be_answered(name):
    inside, expected = ANSWERED[name]
    given = ASKED[name][0] if name in ASKED else PLAIN[name]
    mask = PictureMask(picture=given, inside=inside)
    assert np.array_equal(pixels_of(mask.picture).numpy() == 1, expected)
    assert mask == PictureMask(picture=HALF if expected is HALF else ~HALF), "the answer is not held, what it says is"


def test_gray_is_a_share_or_is_not():
    with pytest.raises(InvalidInputError, match=r"gray in [0-9]+ % of its pixels\. Is gray a share, .*soft=True"):
        mask_of(PLAIN["soft"])
    soft, hard = (PictureMask(picture=PLAIN["soft"], soft=soft) for soft in (True, False))
    assert (soft.is_soft, hard.is_soft) == (True, False)
    np.testing.assert_allclose(pixels_of(soft.picture), PLAIN["soft"], atol=1 / 255)
    assert np.array_equal(pixels_of(hard.picture).numpy(), PLAIN["soft"] >= 0.5)


def test_a_mask_of_one_colour_is_refused_with_what_it_would_mean():
    for value, meaning in ((0, "black everywhere, .* the result would be the source"), (255, "as without a mask")):
        with pytest.raises(InvalidInputError, match=f"`mask` is .*{meaning}"):
            mask_of(np.full((24, 32), value, np.uint8))
    with pytest.raises(InvalidInputError, match="reads the mask from transparency, and this picture has none"):
        mask_of({"name": "picture", "picture": LEVELS, "inside": "painted"})


def test_levels_may_be_all_black_or_all_white():
    for value in (0, 255):
        assert load_mask(np.full((24, 32), value, np.uint8)).getextrema() == (value, value)


def test_masks_of_a_list_are_held_to_the_same(tmp_path):
    LEVELS.convert("RGB").save(tmp_path / "photo.png")
    entry = [{"image": "photo.png", "mask": "mask.png", "prompt": "a dog", "word": "dog"}]
    (tmp_path / "list.yaml").write_text(json.dumps(entry))
    LEVELS.save(tmp_path / "mask.png")
    assert np.array_equal(read_masks(tmp_path / "list.yaml")[0].mask, HALF)
    for name in ("a file of 0 and 1", "painted in alpha"):
        mask = ASKED[name][0]
        (tmp_path / "mask.png").write_bytes(mask if isinstance(mask, bytes) else file_of(mask))
        with pytest.raises(InvalidInputError, match="`mask`"):
            read_masks(tmp_path / "list.yaml")


def test_bombs_in_the_text_of_a_mask_are_refused():
    for picture, message in ((bomb(), "too large"), (bomb(20, 20), "damaged"), (b"GIF89a", "damaged|not a picture")):
        text = "data:image/png;base64," + base64.b64encode(picture).decode()
        with pytest.raises(InvalidInputError, match=message):
            methods_of("local-blend", {"mask": text})
        with pytest.raises(InvalidInputError, match=message):
            pixels_of(text)


def ranking(path):
    return methods_of("local-blend", {"mask": {"name": "words", "ranking": path}})


def test_pipes_devices_and_holes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(2**31)
    (tmp_path / "deep").write_text("[" * 100_000)
    for name, message in (("pipe", "device or a pipe"), ("hole", "2147483648 bytes"), ("deep", "recursion|cannot be")):
        path = str(tmp_path / name)
        for call in (ranking, Profile.load, read_record, *([] if name == "deep" else [load_mask])):
            with pytest.raises(InvalidInputError, match=message):
                call(path)
    with pytest.raises(InvalidInputError, match="device or a pipe"):
        ranking("/dev/zero")
