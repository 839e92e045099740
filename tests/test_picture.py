"""Pictures: what is accepted means what it shows, and what cannot be used is refused in a sentence."""

import math
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from headrouter.errors import InvalidInputError, NonFiniteError
from headrouter.imaging.picture import (
    load_picture,
    psnr,
    save_picture,
    to_picture,
    to_tensor,
    working_size,
    writable_folder,
)


def gradient(width=40, height=30, mode="RGB"):
    """A picture with no symmetry."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encoded(picture, image_format="PNG", **options):
    file = BytesIO()
    picture.save(file, format=image_format, **options)
    return file.getvalue()


def bomb(width=60_000, height=60_000):
    """A PNG of a few bytes that claims to be enormous."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def animation():
    return encoded(gradient(), "GIF", save_all=True, append_images=[gradient().rotate(180)], duration=100)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a picture"),
        (b"just some text, long enough to be sniffed at", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|damaged"),
        (encoded(noise())[:-3000], "damaged"),
        (encoded(noise(), "JPEG")[:-2000], "damaged"),
        (encoded(gradient()).replace(b"IDAT", b"IDAX"), "damaged|not a picture"),
        (bomb(), "too large"),
        (bomb(11_000, 10_000), "too large: 11000x10000 pixels, 100000000 are read"),
        (animation(), "several frames"),
        (encoded(gradient(15, 100)), "15x100 pixels; each side must be at least 16"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "not a picture"),
    ],
    ids=["empty", "text", "png-magic", "png-cut", "jpeg-cut", "png-chunk", "bomb", "large", "gif", "small", "eps"],
)
def test_unusable_files_are_refused_in_a_sentence(tmp_path, data, message):
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=f"`image` '{path}' .*({message})"):
        load_picture(path)
    with pytest.raises(InvalidInputError, match=message):
        load_picture(data)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"cannot read `image` '.*nothing.png': No such file"):
        load_picture(tmp_path / "nothing.png")
    with pytest.raises(InvalidInputError, match="cannot read `image`"):
        load_picture(tmp_path)
    with pytest.raises(InvalidInputError, match=r"`image` .* path"):
        load_picture("a\0b")
    with pytest.raises(InvalidInputError, match=r"must be a path, bytes, .* \(got Tensor\)"):
        load_picture(torch.zeros(3, 20, 20))


def test_an_open_file_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(InvalidInputError, match="too large"):
        load_picture(Image.open(BytesIO(bomb())))
    with pytest.raises(InvalidInputError, match="several frames"):
        load_picture(Image.open(BytesIO(animation())))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = gradient()
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    stored = picture if undo is None else picture.transpose(undo)
    loaded = load_picture(encoded(stored, exif=exif))
    assert loaded.size == picture.size
    assert psnr(loaded, picture) == math.inf


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    picture = gradient(mode=mode)
    loaded = load_picture(picture)
    assert loaded.mode == "RGB"
    assert psnr(loaded, picture.convert("RGB")) == math.inf
    assert loaded is not picture


def test_cmyk_jpeg():
    loaded = load_picture(encoded(gradient(mode="CMYK"), "JPEG", quality=95))
    assert psnr(loaded, gradient()) > 30


def test_16_bit_keeps_its_brightness():
    ramp = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    expected = np.round(ramp / 257).astype(np.uint8)
    for source in (ramp, encoded(Image.fromarray(ramp)), encoded(Image.fromarray(ramp), "TIFF"), Image.fromarray(ramp)):
        loaded = np.asarray(load_picture(source))
        assert loaded.shape == (30, 40, 3)
        assert (loaded == expected[..., None]).all()


@pytest.mark.parametrize(("background", "colour"), [("white", 255), ("black", 0)])
def test_transparency_is_composited(background, colour):
    clear = Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    half = Image.new("RGBA", (20, 20), (100, 100, 100, 128))
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([9, 9, 9, 7, 7, 7])
    files = [encoded(clear), encoded(clear, "WEBP", lossless=True), encoded(palette, transparency=1)]
    for source in files:
        assert load_picture(source, background=background).getpixel((5, 5)) == (colour,) * 3
    expected = round(100 * 128 / 255 + colour * 127 / 255)
    assert load_picture(half, background=background).getpixel((5, 5)) == pytest.approx((expected,) * 3, abs=1)


def test_arrays():
    picture = gradient()
    pixels = np.asarray(picture)
    for array in (pixels, pixels[..., ::-1][..., ::-1], pixels / 255, (pixels / 255).astype(np.float32)):
        assert psnr(load_picture(array), picture) == math.inf
    assert load_picture(pixels[..., :1]).size == load_picture(pixels[..., 0]).size == picture.size


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 20, 3), np.nan), "not finite"),
        (np.full((20, 20), np.inf), "not finite"),
        (np.full((20, 20), 255.0), r"values in \[0, 1\] \(got \[255, 255\]\)"),
        (np.full((20, 20), -0.1), r"values in \[0, 1\]"),
        (np.zeros((20, 20, 2)), r"shape \[H, W\]"),
        (np.zeros((3, 20, 20)), r"got \[3, 20, 20\]"),
        (np.zeros(20), "shape"),
        (np.zeros((0, 20)), "empty"),
        (np.zeros((20, 20), dtype=bool), "got bool"),
        (np.zeros((20, 20), dtype=np.int64), "integers of int64, of which it is not known what is white"),
        (np.full((20, 20, 3), 200, dtype=np.int32), r"Where that is 255, give `array.astype\('uint8'\)`"),
        (np.full((20, 20), 200, dtype=np.uint32), "integers of uint32"),
        (np.full((20, 20), 200, dtype=np.int16), "integers of int16"),
        (np.full((20, 20), 255, dtype=np.uint16), "16 bits and no value above 255, which is black. Are these 8 bits"),
        (np.full((20, 20), 1, dtype=">u2"), "16 bits and no value above 1"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), r"\(ndarray\) is too large: 20000x20000 pixels"),
        (np.broadcast_to(np.float32(0), (20_000, 20_000, 3)), "too large"),
        (np.ma.masked_less(np.full((20, 20), 0.5), 0.2), "masked array"),
        (np.zeros((8, 300), dtype=np.uint8), "300x8 pixels; each side must be at least 16"),
    ],
)
def test_unusable_arrays_are_refused(array, message):
    with pytest.raises(InvalidInputError, match=message):
        load_picture(array)


def test_sixteen_bits_of_darkness_are_asked_about_and_black_is_black():
    assert load_picture(np.zeros((20, 20), np.uint16)).getextrema() == ((0, 0),) * 3
    dark = encoded(Image.fromarray(np.full((20, 20), 255, np.uint16)))
    with pytest.raises(InvalidInputError, match="16 bits and no value above 255"):
        load_picture(dark)
    with pytest.raises(InvalidInputError, match="integers of int32"):
        load_picture(Image.new("I", (20, 20), 200))


def test_sixteen_bits_from_files_that_pillow_opens_as_more():
    ramp = np.linspace(0, 65535, 400).astype(">u2").reshape(20, 20)
    loaded = load_picture(b"P5 20 20 65535\n" + ramp.tobytes())
    assert np.abs(np.asarray(loaded)[..., 0] - ramp / 257).max() <= 0.51


def test_a_gray_level_that_stands_for_transparent():
    levels = np.full((20, 20), 30_000, np.uint16)
    levels[:, :10] = 7
    loaded = load_picture(encoded(Image.fromarray(levels), transparency=7), background="teal")
    assert loaded.getpixel((3, 3)) == (0, 128, 128)
    assert loaded.getpixel((15, 3)) == (round(30_000 / 257),) * 3


def test_a_file_too_large_to_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole, which takes no room
    with pytest.raises(InvalidInputError, match=f"`image` '{path}' has 2147483648 bytes; at most 1073741824 are read"):
        load_picture(path)


def test_what_takes_very_long_is_refused_before_it_is_decoded():
    """Frames that would be counted, scans that each go over the whole picture, a tile larger than its picture."""
    frame = b"!\xf9\4\0\0\0\0\0,\0\0\0\0" + struct.pack("<HHB", 20, 20, 0) + b"\2\2\x4c\1\0"
    head = b"GIF89a" + struct.pack("<HHBBB", 20, 20, 0x80, 0, 0) + bytes(6)
    counted = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("PIL.GifImagePlugin.GifImageFile.n_frames", property(counted.append))
        with pytest.raises(InvalidInputError, match="several frames"):
            load_picture(head + frame * 1000 + b";")
    assert not counted
    assert load_picture(encoded(gradient(), "GIF")).size == (40, 30)
    scans = encoded(gradient(), "JPEG", progressive=True)
    first, second = scans.index(b"\xff\xda"), scans.index(b"\xff\xda", scans.index(b"\xff\xda") + 2)
    with pytest.raises(InvalidInputError, match="more than 500 scans"):
        load_picture(scans[:first] + scans[first:second] * 501 + scans[second:])
    tags = [(256, 20), (257, 24), (258, 8), (259, 8), (262, 1), (322, 30_000), (323, 30_000), (324, 200), (325, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    with pytest.raises(InvalidInputError, match="too large: 30000x30000"):
        load_picture(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(2000))


def test_what_a_picture_says_of_transparency_may_be_nonsense():
    for mode in ("L", "LA", "La", "RGB", "RGBA", "P", "1"):
        for value in ("x", (1, 2, 3), 99_999, b"", None):
            picture = gradient().convert("LA" if mode == "La" else mode).convert(mode)
            picture.info["transparency"] = value
            try:
                assert load_picture(picture).mode == "RGB"
            except InvalidInputError as refused:
                assert "damaged" in str(refused)


def test_the_limit_is_not_that_of_the_process(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert load_picture(encoded(gradient())).size == (40, 30)
    with pytest.raises(InvalidInputError, match="too large: 40x30 pixels, 1000 are read"):
        load_picture(encoded(gradient()), largest=1000)


def test_a_picture_with_a_preview_in_the_same_file_is_a_picture():
    file = BytesIO()
    gradient().save(file, "MPO", save_all=True, append_images=[gradient().rotate(180)])
    assert psnr(load_picture(file.getvalue()), gradient()) > 30


def test_the_caller_keeps_their_picture():
    picture = gradient(mode="RGBA")
    before = picture.tobytes()
    load_picture(picture).paste("red", (0, 0, 40, 30))
    assert picture.tobytes() == before


SIDES = st.integers(16, 20_000)


@given(SIDES, SIDES, st.integers(64, 1536), st.sampled_from([1, 8, 16, 32, 64]))
def test_working_size_keeps_aspect_and_area(width, height, side, multiple):
    if max(width, height) > 8 * min(width, height):
        with pytest.raises(InvalidInputError, match="8 times the shorter"):
            working_size((width, height), side * side, multiple)
        return
    working = working_size((width, height), side * side, multiple)
    ideal = side * math.sqrt(width / height), side * math.sqrt(height / width)
    for got, wanted in zip(working, ideal, strict=True):
        assert got % multiple == 0
        assert got >= multiple
        assert abs(got - wanted) <= multiple / 2 + 1e-6 or got == multiple
    assert working_size((height, width), side * side, multiple) == working[::-1]


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (832, 1216), (512, 1536)])
def test_a_picture_that_fits_already_keeps_its_size(width, height):
    assert working_size((width, height), width * height, 16) == (width, height)


def test_working_size_refuses_nonsense():
    with pytest.raises(InvalidInputError, match="`target_area`"):
        working_size((100, 100), 200, 16)
    with pytest.raises(InvalidInputError, match="`picture_size`"):
        working_size((0, 100), 1024, 16)


def test_tensors_are_exact_inverses():
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, axis=2)
    picture = Image.fromarray(every_value)
    tensor = to_tensor(picture)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert psnr(to_picture(tensor), picture) == psnr(to_picture(tensor[0].double()), picture) == math.inf
    assert psnr(to_picture(tensor * 9), to_picture((tensor * 9).clamp(-1, 1))) == math.inf


def test_tensor_axes_are_height_then_width():
    tensor = to_tensor(gradient(40, 30), size=(20, 24))
    assert tensor.shape == (1, 3, 24, 20)
    assert to_picture(tensor).size == (20, 24)
    red = tensor[0, 0]
    assert (red[:, -1] > red[:, 0]).all(), "red grows to the right"


def test_unusable_tensors_are_refused():
    with pytest.raises(NonFiniteError, match="not finite"):
        to_picture(torch.full((3, 16, 16), float("nan")))
    with pytest.raises(InvalidInputError, match=r"got \[2, 3, 16, 16\]"):
        to_picture(torch.zeros(2, 3, 16, 16))


def test_saving_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    save_picture(gradient(), path, metadata={"cell": "abc ü"})
    with Image.open(path) as saved:
        assert saved.info["cell"] == "abc ü"
        assert psnr(saved.convert("RGB"), gradient()) == math.inf
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InvalidInputError, match=r"cannot write '.*out.png': No space left"):
        save_picture(gradient(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(InvalidInputError, match="suffix of a picture format"):
        save_picture(gradient(), tmp_path / "out.docx")
    with pytest.raises(InvalidInputError, match="`metadata` can be written into PNG"):
        save_picture(gradient(), tmp_path / "out.jpg", metadata={"a": "b"})
    with pytest.raises(InvalidInputError, match="cannot write"):
        save_picture(gradient(), tmp_path / "nowhere" / "out.png")
    assert not any(tmp_path.iterdir())


def test_writable_folder(tmp_path, monkeypatch):
    folder = writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not any(folder.iterdir())
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInputError, match="is not writable"):
            writable_folder(path)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(InvalidInputError, match="not writable: Permission denied"):
        writable_folder(folder)


def test_psnr():
    black, gray = Image.new("RGB", (16, 16), 0), Image.new("RGB", (16, 16), (51, 51, 51))
    assert psnr(black, gray) == pytest.approx(20 * math.log10(5))
    assert psnr(black, ImageOps.invert(black)) == 0
    with pytest.raises(InvalidInputError, match="one shape"):
        psnr(black, black.resize((17, 16)))
    with pytest.raises(InvalidInputError, match="8-bit"):
        psnr(np.zeros((2, 2)), np.zeros((2, 2)))


def test_psnr_of_one_level_is_48_decibels_and_may_have_a_bound() -> None:
    first = np.full((8, 8, 3), 100, dtype=np.uint8)
    assert psnr(first, first + 1) == pytest.approx(48.13, abs=0.01)
    assert [psnr(first, first + 1, most=40), psnr(first, first, most=99), psnr(first, first)] == [40, 99, math.inf]
