"""The command line, given anything: exit code 2 and a sentence, or the whole of what was asked for."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headrouter import Editor
from headrouter.editing.replay import replay

from .conftest import cases
from .fake import Fake, FakeParameters, uses
from .told import DAMAGES, command, contents, damaged, refused

PICTURE = Image.fromarray((np.random.default_rng(0).random((16, 16, 3)) * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    PICTURE.save(folder / "photo.png")
    Editor(FakeParameters(), "rf", progress=False).edit(PICTURE, "a dog", "a cat", steps=1).save(folder / "made")
    return folder


def edit(here: Path, *more: Any) -> list[Any]:
    return [
        "edit",
        here / "photo.png",
        "--backbone",
        "fake",
        "--no-progress",
        "--steps",
        "1",
        "--prompt",
        "a dog",
        *more,
    ]


OPTIONS = [
    "--source",
    "--prompt",
    "--negative",
    "--model",
    "--inversion",
    "--method",
    "--preset",
    "--keep",
    "--push",
    "--steps",
    "--guidance",
    "--seed",
    "--size",
    "--set",
    "--device",
    "--dtype",
    "--offload",
    "--variant",
    "--quantize",
    "--base",
    "--max-rows",
]
WORDS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        ["", " ", "-1", "0", "1", "2", "3.5", "1e999", "nan", "-inf", "9" * 5000, "x" * 5000, "a\0b", "\udcff", "\x1b[31m", "-o",
         "--", "rf", "euler", "none", "headrouter", "maps", "age", "auto", "16x16", "0x0", "65536x65536", "٣x٤", "16x17", "../..",
         "/", "~", "~nobody", "cuda:99", "meta", "cpu", "float16", "group", "owner/name", "a:b", "method.gamma=1", "method=[1]",
         "$a_{b$", "one two three four five six seven eight nine ten"]
    ),
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), WORDS), min_size=1, max_size=3))
@cases(200)
def test_any_option_with_any_value(here: Path, options: list[tuple[str, str]]) -> None:
    output = here / "out"
    code, _ = command(*edit(here, *(each for pair in options for each in pair)), "-o", output, output=output)
    if code == 0:
        assert "result.json" in (contents(output) or {})
    for path in sorted(output.rglob("*"), reverse=True):
        path.unlink()
    if output.exists():
        output.rmdir()


@pytest.mark.parametrize(
    "more",
    [
        ["--prompt", "\udcff"], ["--source", "\udcff"], ["--negative", "\ud800"], ["--prompt", ""], ["--keep", "nan"],
        ["--keep", "2"], ["--push", "inf"], ["--guidance", "-1"], ["--seed", "-1"], ["--seed", str(2**64)], ["--steps", "0"],
        ["--steps", str(10**9)], ["--size", "65536x65536"], ["--size", "9" * 5000 + "x1"], ["--size", "0x0"], ["--max-rows", "1"],
        ["--model", "x" * 5000], ["--model", "a\0b"], ["--model", "nowhere"], ["--backbone", "\x1b[31m"], ["--method", "x" * 9999],
        ["--preset", "\0"], ["--dtype", "int3"], ["--offload", "all"], ["--what", "\x1b[31m"],
        ["--steps", "x" * 5000], ["--set", "x" * 5000],
    ],
    ids=lambda more: ascii("=".join(more))[1:30],
)  # fmt: skip
def test_refused_before_a_model_runs(here: Path, more: list[str]) -> None:
    output, before = here / "other" / "out", uses["evaluated"]
    code, _ = command(*edit(here, *more), "-o", output, output=output)
    assert code == 2
    assert not output.exists() and not output.parent.exists(), "a folder that was not there is not there"
    assert uses["evaluated"] == before


@pytest.mark.parametrize("output", ["photo.png", "photo.png/below", "\0", "x" * 300, "/proc/nowhere"])
def test_folders_that_cannot_be_written(here: Path, output: str) -> None:
    before, runs = contents(here), uses["evaluated"]
    where = output if "\0" in output or output.startswith("/") else here / output
    for asked in (edit(here), ["reconstruct", here / "photo.png", "--backbone", "fake"], ["plugins", "new", "acme"]):
        assert command(*asked, "-o", where)[0] == 2
    assert contents(here) == before
    assert uses["evaluated"] == runs


def test_a_name_that_is_no_text(here: Path) -> None:
    photo = here / os.fsdecode(b"caf\xe9.png")
    PICTURE.save(photo)
    output = here / os.fsdecode(b"out\xe9")
    asked = edit(here)
    asked[1] = photo
    assert command(*asked, "-o", output, output=output)[0] == 0


def test_what_is_there_stays_when_an_edit_is_refused(here: Path, tmp_path: Path) -> None:
    for name in ("source.png", "edit-0.png", "result.json", "mine.txt"):
        (tmp_path / name).write_text("mine")
    assert command(*edit(here, "--keep", "9"), "-o", tmp_path, output=tmp_path)[0] == 2
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


COMMANDS = [
    [], ["what"], ["edit"], ["edit", "--from"], ["edit", "--from", "nowhere"], ["reconstruct"], ["conformance"],
    ["conformance", "\x1b"], ["conformance", "x" * 5000], ["conformance", ""], ["conformance", "fake", "--model", "\0"],
    ["plugins", "what"], ["plugins", "new"], ["plugins", "new", ""], ["plugins", "new", "../x"], ["plugins", "new", "A"],
    ["plugins", "new", "x" * 5000], ["plugins", "new", "acme", "--kind", "what"], ["presets", "what"], ["doctor", "what"],
    ["--what"], ["\udcff"], ["\x1b[31m"], ["edit", "a.png", "b.png"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments)[:30])
def test_commands_that_cannot_be(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments:
        assert command(*arguments, output=tmp_path)[0] == 2
    assert not any(tmp_path.iterdir())


def rewritten(record: Any, path: list[Any], value: Any) -> Any:
    """A record with what is at a path replaced."""
    if not path:
        return value
    copy = dict(record) if isinstance(record, dict) else list(record)
    copy[path[0]] = rewritten(copy[path[0]], path[1:], value)
    return copy


def paths(record: Any) -> list[list[Any]]:
    """Every place in a record."""
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return [[], *([key, *below] for key, value in items for below in paths(value))]


WRONG: list[Any] = [
    None,
    True,
    -1,
    3,
    2.5,
    1e999,
    "",
    "x",
    "../../nowhere",
    "x" * 3000,
    [],
    [1],
    ["a"],
    {},
    {"name": "rf"},
    [[[]]],
]


@pytest.mark.filterwarnings("ignore::headrouter.errors.RecordWarning")
def test_records_with_anything_anywhere(here: Path) -> None:
    """Every value of a record by every wrong one: run again, or refused; the record is left alone."""
    text = (here / "made" / "result.json").read_text()
    record = json.loads(text)
    places = [path for path in paths(record) if path[:1] not in (["cost"], ["images"])]
    assert len(places) > 30
    changed = here / "made" / "changed.json"
    refusals = 0
    for number, place in enumerate(places):
        for value in WRONG[number % 2 :: 2] if len(place) > 1 else WRONG:
            changed.write_text(json.dumps(rewritten(record, place, value)))
            before = changed.read_bytes()
            refusals += bool(refused(lambda: replay(changed, progress=False))[0])
            assert changed.read_bytes() == before
    changed.unlink()
    assert refusals > 300


@given(st.floats(0, 1), st.sampled_from(DAMAGES), st.binary(min_size=1, max_size=8))
@cases(150)
def test_damaged_records_are_run_or_refused(here: Path, place: float, how: str, noise: bytes) -> None:
    changed, output = here / "made" / "damaged.json", here / "again"
    data = damaged((here / "made" / "result.json").read_bytes(), place, how, noise)
    changed.write_bytes(data)
    code, told = command("edit", "--from", changed, "--no-progress", "-o", output, output=output)
    assert code == 0 or "headrouter: " in told
    assert changed.read_bytes() == data
    if output.exists():
        for path in output.iterdir():
            path.unlink()
        output.rmdir()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "NaN", "[" * 100_000, '{"a":' * 50_000, "9" * 5000, '{"headrouter": [], "edit": 1}', "\0",
             '{"headrouter": {"format": 1}, "edit": {}}', '{"headrouter": {"format": 2}, "edit": {}}', '"\\ud800"'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_record_is_refused(here: Path, text: str) -> None:
    path, output = here / "none.json", here / "never"
    path.write_text(text)
    code, told = command("edit", "--from", path, "-o", output, output=output)
    assert code == 2
    assert "none.json" in told


def test_a_record_of_another_picture_is_refused(here: Path, tmp_path: Path) -> None:
    PICTURE.rotate(90).save(tmp_path / "source.png")
    (tmp_path / "result.json").write_text((here / "made" / "result.json").read_text())
    assert "hash differs" in refused(lambda: replay(tmp_path, progress=False))[0]


def test_a_prompt_with_dollar_signs_on_a_sheet(here: Path, tmp_path: Path) -> None:
    asked = edit(here, "--sheet", "--prompt", "a $x_{y$ dog", "--method", "none")
    assert command(*asked, "-o", tmp_path / "out", output=tmp_path / "out")[0] == 0


ANYTHING: list[Any] = [None, True, -1, 0, 3, 2.5, float("nan"), float("inf"), 10**30, "", "x", "\ud800", "x" * 200_000, b"x", [],
                       [1],
                       [None], {}, {"a": 1}, (), (0, 0), ("16", "16"), object(), object, len, {1}, iter([])]  # fmt: skip
ASKED = [
    "image",
    "prompt",
    "source_prompt",
    "negative_prompt",
    "preset",
    "keep",
    "push",
    "strength",
    "steps",
    "guidance",
    "seed",
    "size",
    "start",
    "maps",
]
MADE = [
    "backbone",
    "inversion",
    "method",
    "model",
    "pipeline",
    "device",
    "dtype",
    "offload",
    "variant",
    "base",
    "quantize",
    "max_rows",
]


@pytest.mark.parametrize("name", ASKED)
def test_whatever_is_asked_of_an_edit(name: str) -> None:
    tool = Editor(Fake(), progress=False)
    for value in ANYTHING:
        asked = {"image": PICTURE, "prompt": "a dog", "steps": 1, name: value}
        told, result = refused(lambda asked=asked: tool.edit(**asked))
        assert told or result.image.size == (16, 16)
        if name in ("source_prompt", "negative_prompt", "preset", "keep", "steps", "seed", "size"):
            asked.pop("prompt")
            refused(lambda asked=asked: tool.invert(**asked))
            refused(lambda asked=asked: tool.reconstruct(**asked))
        if name in ("negative_prompt", "steps", "guidance", "seed", "size"):
            refused(lambda name=name, value=value: tool.generate("a dog", **{"steps": 1, name: value}))
        if name == "prompt":
            refused(lambda value=value: tool.generate(value, steps=1))


@pytest.mark.parametrize("name", MADE)
def test_whatever_an_editor_is_made_of(name: str) -> None:
    for value in ANYTHING:
        parts = {"backbone": "fake", "progress": False, name: value}
        told, tool = refused(lambda parts=parts: Editor(**parts))
        if not told and name != "pipeline":
            assert tool.edit(PICTURE, "a dog", steps=1).image.size == (16, 16)


def test_whatever_name_a_diagnostic_has() -> None:
    result = Editor(Fake(), "euler", "headrouter", progress=False).edit(PICTURE, "a dog", "a cat", steps=1)
    for value in ANYTHING:
        assert refused(lambda value=value: result.recorded(value))[0]


@given(st.text(max_size=120))
@cases(100)
def test_any_prompt(text: str) -> None:
    told, result = refused(lambda: Editor(Fake(), "euler", "none", progress=False).edit(PICTURE, text, text, steps=1))
    assert told or json.loads(json.dumps(result.record.plain()))["edit"]["prompt"] == [text]
