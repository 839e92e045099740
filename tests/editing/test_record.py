"""The record: one value that is saved, read in every format, hashed by what decides the picture, and run again."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import PICTURE
from headrouter_diffusers.testing import tiny_sd35
from headrouter_inversions.rf import RFInversion

from headrouter import Editor, replay
from headrouter.editing.record import FORMAT, Record
from headrouter.editing.record_file import as_json, read_record, record_from
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError, RecordWarning
from headrouter.methods.head_router.method import HeadRouter
from headrouter.testing.toy import ToyMMDiT

STORED = Path(__file__).parent / "records"
"""What the stored records are of."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "sd3.5"
    tiny_sd35().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(model: Path) -> Result:
    """The edit of the stored records."""
    options: dict[str, Any] = {"model": str(model), "device": "cpu", "dtype": "float32", "max_rows": 3}
    editor = Editor("sd3.5", "rf", "headrouter", progress=False, **options)
    values: dict[str, Any] = {"guidance": 2, "seed": [3, 5], "size": (48, 32)}
    return editor.edit(PICTURE, ["a dog", "two dogs"], "a cat", preset="paper", keep=0.5, steps=2, **values)


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_records_of_every_format_run_the_same_edit(number: int, model: Path, expected: Result, tmp_path: Path) -> None:
    """With the weights of this test for those of the file: other versions of torch draw others."""
    stored = json.loads((STORED / f"format-{number}.json").read_text())
    assert stored["headrouter"]["format"] == number
    if number > 1:
        stored["weights"] = expected.record.weights
    (tmp_path / "result.json").write_bytes(as_json(stored))
    PICTURE.save(tmp_path / "source.png")
    read = read_record(tmp_path)
    assert read.code["headrouter"].version == "0.1.0" and read.code["torch"].version
    with pytest.warns(RecordWarning, match="which weights") if number == 1 else nullcontext():
        found = replay(tmp_path, model=str(model), progress=False)
    assert all(np.array_equal(one, other) for one, other in zip(found.images, expected.images, strict=True))
    assert found.record == expected.record
    names = [name.split(" (")[0] for name in read.differences(found.record)]
    assert {name.split(".")[0] for name in names} <= ({"code", "weights", "backbone"} if number == 1 else {"code"})


def test_a_record_is_what_was_read_of_it(expected: Result, tmp_path: Path) -> None:
    read = read_record(expected.save(tmp_path / "out"))
    assert read == expected.record and read.hash == expected.record.hash and not read.differences(expected.record)
    assert replay(tmp_path / "out", progress=False).record == read
    with pytest.raises(ValueError, match="frozen"):
        read.weights = "other"  # type: ignore[misc]


def changed(record: Record, path: str, value: Any) -> Record:
    found = record.plain()
    *parents, last = path.split(".")
    place: Any = found
    for name in parents:
        place = place[int(name) if name.isdecimal() else name]
    place[last] = value
    return record_from(found)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("weights", "0" * 16, "weights ('"),
        ("backbone.name", "sd3", "backbone ('sd3.5', here 'sd3')"),
        ("backbone.dtype", "bfloat16", "backbone.dtype ('float32', here 'bfloat16')"),
        ("backbone.t5", False, "backbone.t5 (True, here False)"),
        ("inversion.eta", 0.25, "inversion.eta (0.5, here 0.25)"),
        ("methods.0.gamma", 0.3, "methods.0.gamma (0.2, here 0.3)"),
        ("methods", [], "methods"),
        ("edit.prompt", ["a dog"], "prompt (['a dog', 'two dogs'], here ['a dog'])"),
        ("edit.source_prompt", "a pig", "source prompt ('a cat', here 'a pig')"),
        ("edit.seed", 3, "seed ([3, 5], here 3)"),
        ("edit.size", [32, 32], "size ([48, 32], here [32, 32])"),
        ("source.sha256", "0" * 64, "picture"),
        ("code.torch", {"version": "9.9"}, "code.torch.version ('"),
        ("code.headrouter.source", "0" * 12, "code.headrouter.source ('"),
        ("code.acme", {"version": "1", "source": ""}, "code.acme"),
    ],
)
def test_the_hash_covers_what_decides_the_picture(path: str, value: Any, named: str, expected: Result) -> None:
    other = changed(expected.record, path, value)
    assert other.hash != expected.record.hash
    (difference,) = expected.record.differences(other)
    assert difference.startswith(named)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("backbone.model", "elsewhere"),
        ("backbone.device", "cuda"),
        ("backbone.offload", "layers"),
        ("source.file", "other.png"),
        ("preset", None),
        ("max_rows", None),
    ],
)
def test_the_hash_does_not_cover_places_and_machines(path: str, value: Any, expected: Result) -> None:
    other = changed(expected.record, path, value)
    assert other != expected.record
    assert other.hash == expected.record.hash and not expected.record.differences(other)


def test_presets_knobs_and_defaults_are_applied() -> None:
    """One edit asked for in two ways has one record."""
    asked = Editor(ToyMMDiT(), "rf", "headrouter", progress=False).edit(PICTURE, "a dog", keep=0.5, push=0.5, steps=2)
    parts = RFInversion(steps=2, eta=0.5), HeadRouter(gamma=0.5)
    given = Editor(ToyMMDiT(), *parts, progress=False).edit(PICTURE, "a dog", guidance=asked.record.edit.guidance)
    assert given.record == asked.record


def test_code_that_changed_is_another_record(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrouter.plugins import code

    tool = Editor(ToyMMDiT(), "rf", None, progress=False)
    kept, before = tool.invert(PICTURE, steps=2), tool.edit(PICTURE, "a dog", steps=2).record
    code._code.cache_clear()
    monkeypatch.setattr(code, "_source", lambda _: "0123456789ab")
    try:
        assert tool.edit(PICTURE, "a dog", steps=2).record.hash != before.hash
        with pytest.raises(InvalidInputError, match=r"by its code\.headrouter\.source \('.*', here '0123456789ab'\)"):
            tool.edit(PICTURE, "a dog", steps=2, start=kept)
    finally:
        code._code.cache_clear()


def test_what_no_record_can_hold_is_refused_before_the_transformer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults of a model come from anywhere; a file that says 5000 would not be read."""
    defaults = replace(ToyMMDiT().defaults, guidance=5000.0)
    monkeypatch.setattr(ToyMMDiT, "defaults", defaults)
    monkeypatch.setattr(ToyMMDiT, "velocity", lambda *_: pytest.fail("the transformer ran"))
    with pytest.raises(InvalidInputError, match=r"`edit\.guidance`: Input should be less than 1000 \(got 5000"):
        Editor(ToyMMDiT(), "rf", None, progress=False).edit(PICTURE, "a dog", steps=2)


def test_parameters_nested_beyond_what_can_be_written_are_refused(expected: Result, tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    folder = shutil.copytree(expected.save(tmp_path / "out"), tmp_path / "deep")
    record = expected.record.plain()
    record["inversion"]["eta"] = value
    (folder / "result.json").write_text(json.dumps(record))
    with pytest.raises(
        InvalidInputError, match=r"is damaged: `inversion`: parameters must be plain data that is not nested too deeply"
    ):
        replay(folder)


def test_old_names_warn(expected: Result) -> None:
    with pytest.warns(DeprecationWarning, match="`edit_again`|edit_again is replay now"):
        from headrouter import edit_again
    assert edit_again is replay
    with pytest.warns(DeprecationWarning, match="records have attributes now"):
        assert expected.record["edit"]["seed"] == [3, 5]
