"""A kept inversion damaged at every offset is refused, or is what it was."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from headrouter import Editor
from headrouter.editing.inverted_latents import FORMAT, InvertedLatents

from .conftest import cases
from .fake import Fake, uses
from .told import DAMAGES, damaged, refused

PICTURE = Image.fromarray((np.random.default_rng(0).random((16, 16, 3)) * 255).astype(np.uint8))


def tool() -> Editor:
    return Editor(Fake(), "rf", None, progress=False)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bytes, InvertedLatents]]:
    made = tool().invert(PICTURE, "a cat", steps=2)
    path = made.save(tmp_path_factory.mktemp("kept") / "cat.safetensors")
    yield path, path.read_bytes(), made


def holds(path: Path, made: InvertedLatents) -> None:
    """Refused when it is read or when it is used, or the same latents."""
    told, read = refused(lambda: InvertedLatents.load(path))
    if read is None:
        assert "`start`" in told
        return
    assert torch.equal(read.latents, made.latents)
    assert read.latents.dtype == torch.float32
    told, _ = refused(lambda: read.refuse_unless(made.identity, tuple(made.latents.shape)))
    assert told or read.identity == made.identity
    assert str(read.cost + read.cost)


def test_every_offset(kept: Any) -> None:
    """Cut there; and one bit of it flipped."""
    path, data, made = kept
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        holds(path, made)
        if at % 4 == 0:
            path.write_bytes(data[:at])
            assert refused(lambda: InvertedLatents.load(path))[0]


@given(st.floats(0, 1), st.sampled_from(DAMAGES), st.binary(min_size=1, max_size=12), st.booleans())
@cases(600)
def test_other_damage(kept: Any, place: float, how: str, noise: bytes, head: bool) -> None:
    path, data, made = kept
    size = 8 + struct.unpack("<Q", data[:8])[0]
    part = damaged(data[:size], place, how, noise) + data[size:] if head else damaged(data, place, how, noise)
    path.write_bytes(part)
    holds(path, made)


def written(latents: torch.Tensor, record: Any, raw: bool = False) -> bytes:
    return save({"latents": latents}, {"headrouter": record if raw else json.dumps(record)})


def record_of(made: InvertedLatents, **changes: Any) -> dict[str, Any]:
    import hashlib

    latents = changes.pop("latents", made.latents)
    given = changes.get("identity")
    identity = given if isinstance(given, dict) else made.identity.plain()
    content = json.dumps(identity, sort_keys=True).encode() + latents.contiguous().view(torch.uint8).numpy().tobytes()
    digest = hashlib.sha256(content).hexdigest()
    cost = {"calls": 2, "rows": 2, "seconds": 0.1, "peak_memory": 1}
    return {"format": FORMAT, "identity": identity, "cost": cost, "sha256": digest, **changes}


@pytest.mark.parametrize("format", [1, 2])
def test_a_file_of_an_earlier_version_is_refused(kept: Any, format: int) -> None:  # noqa: A002
    path, _, made = kept
    path.write_bytes(written(made.latents, record_of(made, format=format)))
    assert (
        "kept by an earlier version, which did not note its code; invert"
        in refused(lambda: InvertedLatents.load(path))[0]
    )


COSTS: list[Any] = [
    None, 3, [], {}, {"calls": "2"}, {"calls": None}, {"calls": 1.5}, {"calls": [1]}, {"seconds": "1"},
    {"seconds": float("nan")}, {"seconds": -1}, {"peak_memory": float("inf")}, {"calls": True}, {"calls": -1}, {"other": 1},
]  # fmt: skip
RECORDS: list[dict[str, Any]] = [
    *({"cost": cost} for cost in COSTS if cost != {}),
    *({"identity": identity} for identity in (None, 3, "abc", [], [["a", 1]], [1, 2], True)),
    *({"format": found} for found in (None, 0, 1, 2, 4, "2", [2], {}, 2.5, 2.0, True, 10**400)),
    *({"sha256": found} for found in (None, "", "0" * 64, 3, [], {})),
]


@pytest.mark.parametrize("changes", RECORDS, ids=lambda changes: json.dumps(changes)[:60])
def test_records_of_wrong_types_are_refused(kept: Any, changes: dict[str, Any]) -> None:
    path, _, made = kept
    path.write_bytes(written(made.latents, record_of(made, **changes)))
    assert refused(lambda: InvertedLatents.load(path))[0]


RAW = [
    "",
    "null",
    "[]",
    "3",
    "{",
    "{}",
    '"text"',
    "[" * 100_000,
    '{"a":' * 50_000,
    "9" * 5000,
    '{"format": NaN}',
    "\x00",
]


@pytest.mark.parametrize("text", RAW, ids=lambda text: text[:12])
def test_records_that_are_none_are_refused(kept: Any, text: str) -> None:
    path, _, made = kept
    path.write_bytes(written(made.latents, text, raw=True))
    assert refused(lambda: InvertedLatents.load(path))[0]


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "int32", "uint8", "bool", "int64", "float8_e4m3fn"]
)
def test_latents_of_another_type_are_refused(kept: Any, dtype: str) -> None:
    path, _, made = kept
    latents = made.latents.to(getattr(torch, dtype))
    path.write_bytes(written(latents, record_of(made, latents=latents)))
    assert "float32" in refused(lambda: InvertedLatents.load(path))[0]


def test_bits_of_another_type_are_refused(kept: Any) -> None:
    """The bytes, and so their hash, are those that were written; what they mean is not."""
    path, data, _ = kept
    for other in (b'"I32"', b'"U32"'):
        path.write_bytes(data.replace(b'"F32"', other))
        assert "float32" in refused(lambda: InvertedLatents.load(path))[0]


def test_latents_that_are_not_finite_are_refused(kept: Any) -> None:
    path, _, made = kept
    latents = made.latents.clone()
    latents[0, 0, 0, 0] = torch.nan
    path.write_bytes(written(latents, record_of(made, latents=latents)))
    assert "finite" in refused(lambda: InvertedLatents.load(path))[0]


NOT_FILES: list[Any] = [
    "",
    ".",
    "nowhere.safetensors",
    "\0",
    "x" * 5000,
    "half\udcff",
    3,
    1.5,
    [],
    {},
    b"\0",
    True,
    object,
]


@pytest.mark.parametrize("given_path", NOT_FILES, ids=lambda value: repr(value)[:20])
def test_what_is_no_file_is_refused(given_path: Any) -> None:
    before = uses.copy()
    assert refused(lambda: tool().edit(PICTURE, "a dog", start=given_path))[0]
    assert uses == before


@pytest.mark.parametrize(
    "path", ["", ".", "x.png", "nowhere/x.safetensors", "\0.safetensors", "y" * 300 + ".safetensors"]
)
def test_names_that_cannot_be_written_are_refused(kept: Any, path: str) -> None:
    assert refused(lambda: kept[2].save(path))[0]


SHAPES: list[Any] = [
    [], [0], [768], [48, 4, 4], [2, 24, 4, 4], [1, 1, 1, 768], [1, 2**31, 4, 4], [2**63 - 1, 1, 1, 1], [2**64], [-1, 48],
    [1.5], ["a"], None, 3, [1] * 100, [10**400],
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:20])
@pytest.mark.parametrize("size", [768 * 4, 2**35])
def test_headers_of_other_shapes_are_refused_before_latents_are_read(kept: Any, shape: Any, size: int) -> None:
    path, data, _ = kept
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    header["latents"] = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[end:])
    assert refused(lambda: tool().edit(PICTURE, "a dog", steps=2, start=path))[0]


@pytest.mark.parametrize("gigabytes", [2, 32, 200])
def test_a_giant_is_refused_by_its_size_and_header(kept: Any, gigabytes: int) -> None:
    """Sparse files, which take no room; the machine may not have the memory to map them."""
    path, data, _ = kept
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header, size = json.loads(data[8:end]), gigabytes << 30
    header["latents"] = {"dtype": "F32", "shape": [1, 16, 1024, size >> 16], "data_offsets": [0, size]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    assert "bytes" in refused(lambda: InvertedLatents.load(path))[0]
    path.write_bytes(data)


def test_what_it_belongs_to_cannot_be_changed_by_hand(kept: Any) -> None:
    path, _, made = kept
    record = record_of(made)
    record["identity"] = {**record["identity"], "weights": "0" * 16}
    path.write_bytes(written(made.latents, record))
    assert "not those that were written with its identity" in refused(lambda: InvertedLatents.load(path))[0]
