"""Damaged and strange pictures, as bytes, files, arrays and objects: read as RGB, or refused in a sentence."""

import base64
import json
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headrouter import Editor
from headrouter.editing.assembly import methods_of
from headrouter.imaging.picture import LARGEST, SMALLEST_SIDE, load_picture

from .conftest import cases
from .fake import Fake, FakeParameters, uses
from .told import DAMAGES, command, damaged, refused

pytestmark = [  # remarks on damaged metadata
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::headrouter.errors.PictureWarning"),
]
PIXELS = (np.random.default_rng(0).random((18, 20, 3)) * 255).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of these chunks, whatever they claim."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
             for kind, data in (header, *chunks, (b"IEND", b""))]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


WHOLE: dict[str, bytes] = {
    "png": encoded(PICTURE, "PNG"),
    "png interlaced palette": encoded(PICTURE.convert("P"), "PNG", transparency=3),
    "png 16 bit": encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
    "png alpha": encoded(PICTURE.convert("RGBA"), "PNG"),
    "png grey alpha": encoded(PICTURE.convert("LA"), "PNG"),
    "png 1 bit": encoded(PICTURE.convert("1"), "PNG"),
    "png with text": png(20, 18, (b"IDAT", zlib.compress(b"\0" * (20 * 3 + 1) * 18)), (b"tEXt", b"a\0b")),
    "jpeg": encoded(PICTURE, "JPEG"),
    "jpeg progressive": encoded(PICTURE, "JPEG", progressive=True),
    "jpeg cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "jpeg grey": encoded(PICTURE.convert("L"), "JPEG"),
    "jpeg turned": encoded(PICTURE, "JPEG", exif=exif(6)),
    "jpeg turned to nowhere": encoded(PICTURE, "JPEG", exif=exif(42)),
    "jpeg with bad exif": encoded(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40),
    "webp": encoded(PICTURE, "WEBP"),
    "webp lossless alpha": encoded(PICTURE.convert("RGBA"), "WEBP", lossless=True),
    "tiff": encoded(PICTURE, "TIFF"),
    "tiff lzw": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "tiff float": encoded(Image.fromarray((PIXELS[..., 0] / 255).astype(np.float32)), "TIFF"),
    "bmp": encoded(PICTURE, "BMP"),
    "gif": encoded(PICTURE.convert("P"), "GIF", transparency=0),
    "ppm": encoded(PICTURE, "PPM"),
}
"""Each is read as it is."""

PACKED = zlib.compress(b"\0" * (20 * 3 + 1) * 18)
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "text": b"not a picture at all, but long enough to be looked at by every plug-in of Pillow",
    "zeros": bytes(4096),
    "html": b"<!doctype html><html><title>404</title></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"/>',
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
    "one pixel": encoded(Image.new("RGB", (1, 1)), "PNG"),
    "a line": encoded(Image.new("RGB", (400, 1)), "PNG"),
    "animated gif": encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(90)]),
    "animated png": encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(90)]),
    "animated webp": encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(90)]),
    "tiff of two pages": encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(90)]),
    "bomb": png(60_000, 60_000, (b"IDAT", PACKED)),
    "bomb of the largest size": png(2**31 - 1, 2**31 - 1, (b"IDAT", PACKED)),
    "just too large": png(LARGEST // 1000 + 1, 1000, (b"IDAT", PACKED)),
    "no pixels": png(0, 0, (b"IDAT", PACKED)),
    "no data": png(20, 18),
    "empty data": png(20, 18, (b"IDAT", b"")),
    "data that is not compressed": png(20, 18, (b"IDAT", b"abcdefgh")),
    "too little data": png(20, 18, (b"IDAT", zlib.compress(b"\0" * 90))),
    "unknown colour": png(20, 18, (b"IDAT", PACKED), colour=7),
    "unknown depth": png(20, 18, (b"IDAT", PACKED), depth=5),
    "palette that is missing": png(20, 18, (b"IDAT", zlib.compress(b"\0" * 21 * 18)), colour=3)[:-60],
    "text bomb": png(20, 18, (b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))), (b"IDAT", PACKED)),
    "profile bomb": png(20, 18, (b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000))), (b"IDAT", PACKED))[:-70],
    "jpeg magic": b"\xff\xd8\xff\xe0" + bytes(100),
    "png as jpeg": b"\xff\xd8\xff" + WHOLE["png"][3:],
    "jpeg as png": b"\x89PNG\r\n\x1a\n" + WHOLE["jpeg"][8:],
    "ppm of words": b"P6\n20 eighteen\n255\n",
    "ppm of nothing": b"P6\n0 0\n255\n",
    "bmp of negative width": WHOLE["bmp"][:18] + struct.pack("<i", -20) + WHOLE["bmp"][22:],
    "webp cut in its header": WHOLE["webp"][:20],
    "gif header": b"GIF89a",
    "tiff header": b"II*\0\x08\0\0\0",
    "avif header": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1",
}
"""Each is refused."""


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(name: str) -> None:
    picture = load_picture(WHOLE[name])
    assert picture.mode == "RGB"
    assert sorted(picture.size) == [18, 20]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_before_a_model_is_loaded(name: str, tmp_path: Path) -> None:
    path, output, before = tmp_path / "picture.png", tmp_path / "out", uses.copy()
    path.write_bytes(BROKEN[name])
    asks: list[list[Any]] = [["edit", path, "--prompt", "a dog"], ["reconstruct", path]]
    for arguments in asks:
        code, told = command(*arguments, "--backbone", "fake", "-o", output, output=output)
        assert code == 2
        assert f"`image` '{path}'" in told
        assert not output.exists()
    assert refused(lambda: load_picture(BROKEN[name]))[0]
    assert uses == before
    assert path.read_bytes() == BROKEN[name]


@given(
    st.sampled_from(sorted(WHOLE)),
    st.floats(0, 1),
    st.sampled_from(DAMAGES),
    st.binary(min_size=1, max_size=12),
)
@cases(1200)
def test_damaged_files_are_read_or_refused(name: str, place: float, how: str, noise: bytes) -> None:
    data = damaged(WHOLE[name], place, how, noise)
    told, picture = refused(lambda: load_picture(data))
    if picture is not None:
        assert picture.mode == "RGB"
        assert min(picture.size) >= SMALLEST_SIDE
    else:
        assert "`image`" in told


def test_a_file_cut_anywhere_is_read_or_refused() -> None:
    for name in ("png", "jpeg", "webp", "gif"):
        for end in range(0, len(WHOLE[name]), 3):
            refused(lambda name=name, end=end: load_picture(WHOLE[name][:end]))


@given(st.binary(max_size=200))
@cases(150)
def test_noise_is_refused(data: bytes) -> None:
    assert refused(lambda: load_picture(data))[0]


DTYPES = st.sampled_from(
    [
        "?",
        "u1",
        "i1",
        "u2",
        ">u2",
        "i2",
        "u4",
        "i4",
        "u8",
        "i8",
        "f2",
        "f4",
        "f8",
        ">f4",
        "c8",
        "S3",
        "U2",
        "O",
        "M8[s]",
    ]
)


@given(DTYPES, st.lists(st.integers(0, 24), max_size=4), st.sampled_from([0, 1, -1, 300, 1e9, np.nan, np.inf]))
@cases(400)
def test_arrays_are_read_or_refused(dtype: str, shape: list[int], value: float) -> None:
    try:
        with np.errstate(all="ignore"):
            array = np.full(shape, value).astype(dtype)
    except (ValueError, TypeError, OverflowError):
        array = np.zeros(shape, dtype)
    before = array.copy()
    _, picture = refused(lambda: load_picture(array))
    if picture is not None:
        assert picture.mode == "RGB"
        assert picture.size == (shape[1], shape[0])
    assert array.tobytes() == before.tobytes()


class Pathlike:
    def __init__(self, path: object) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path


def closed() -> Image.Image:
    picture = Image.open(BytesIO(WHOLE["png"]))
    picture.close()
    return picture


def unread() -> Image.Image:
    return Image.open(BytesIO(WHOLE["png"][:-60]))


OBJECTS: dict[str, Any] = {
    "None": None,
    "a number": 3,
    "a truth": True,
    "a list": [1, 2],
    "a dictionary": {"image": 1},
    "a set": {1},
    "a class": Image.Image,
    "a function": len,
    "an open file": BytesIO(WHOLE["png"]),
    "bytes that can change": bytearray(WHOLE["png"]),
    "a view": memoryview(WHOLE["png"]),
    "a tensor": torch.zeros(3, 20, 20),
    "a tensor of doubles": torch.zeros(3, 20, 20, dtype=torch.float64),
    "an empty name": "",
    "a zero in a name": "a\0b.png",
    "a long name": "x" * 5000,
    "a very long path": "/".join(["x" * 200] * 50),
    "half a character": "photo\udcff.png",
    "a folder": ".",
    "a device": "/dev/null",
    "another user's folder": "~nobody/picture.png",
    "an address": "https://localhost/picture.png",
    "a masked array": np.ma.masked_all((20, 20)),
    "an array of objects": np.full((20, 20), None),
    "a record array": np.zeros((20, 20), dtype=[("a", "u1")]),
    "a matrix of text": np.full((20, 20), "a"),
    "a path of bytes": Pathlike(b"nowhere.png"),
    "a path of numbers": Pathlike(3),
    "a closed picture": closed(),
    "a cut picture": unread(),
    "a picture without pixels": Image.new("RGB", (0, 0)),
    "a picture of integers": Image.new("I", (20, 20), -5),
    "a picture of floats": Image.new("F", (20, 20), float("nan")),
    "a small picture": Image.new("RGB", (15, 15)),
    "a strip": Image.new("RGB", (2000, 16)),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_refused(name: str) -> None:
    tool = Editor(Fake(), "euler", None, progress=False)
    before = uses.copy()
    for call in (tool.edit, tool.reconstruct, tool.invert):
        arguments = (OBJECTS[name], "a dog") if call == tool.edit else (OBJECTS[name],)
        told, _ = refused(lambda call=call, arguments=arguments: call(*arguments))
        assert told, f"{name} was taken by {call.__name__}"
    assert uses == before, "no model ran"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    missing = tmp_path / "nowhere" / "picture.png"
    names: list[Any] = [
        loop,
        missing,
        tmp_path,
        tmp_path / ("y" * 300),
        "",
        "\0",
        "/dev/null",
        "half\udcff.png",
        "\x1b[31mred",
    ]
    for name in names:
        output = tmp_path / "out"
        code, _ = command("edit", name, "--prompt", "a dog", "--backbone", "fake", "-o", output, output=output)
        assert code == 2
        assert not output.exists()


def test_devices_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("/dev/null", "/dev/zero", tmp_path / "pipe.png"):
        assert "is a device or a pipe" in refused(lambda path=path: load_picture(path))[0]


NAMED: dict[str, tuple[str, Any]] = {
    "a bomb as mask": ("mask", "data:image/png;base64," + base64.b64encode(png(60_000, 60_000)).decode()),
    "a damaged mask": ("mask", "data:image/png;base64,AAAA"),
    "a pipe as mask": ("mask", "pipe"),
    "a device as mask": ("mask", "/dev/zero"),
    "a pipe as ranking": ("ranking", "pipe"),
    "a device as ranking": ("ranking", "/dev/zero"),
    "a hole as ranking": ("ranking", "hole"),
    "a hole as mask": ("mask", "hole"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_a_record_names_is_not_waited_for(name: str, tmp_path: Path) -> None:
    blend = methods_of("local-blend", {"mask": np.eye(20, dtype=bool)[:18]})
    made = Editor(FakeParameters(), "euler", blend, progress=False).edit(PICTURE, "a dog", steps=1)
    record = made.save(tmp_path / "made") / "result.json"
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(2**31)
    parameter, value = NAMED[name]
    document = json.loads(record.read_text())
    method = document["methods"][0]
    named = str(tmp_path / value) if value in ("pipe", "hole") else value
    method["mask"] = named if parameter == "mask" else {"name": "words", parameter: named}
    record.write_text(json.dumps(document))
    output, before = tmp_path / "out", uses["evaluated"]
    code, told = command("edit", "--from", record, "-o", output, output=output)
    assert code == 2 and f"`{parameter}`" in told
    assert uses["evaluated"] == before
