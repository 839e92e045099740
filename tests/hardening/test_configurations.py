"""YAML, ``--set`` and configurations of wrong types: taken, or refused in a sentence with the place."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headrouter.cli.overrides import parse_overrides
from headrouter.config.configuration import validate
from headrouter.config.yaml_document import parse_yaml, read_yaml
from headrouter.editing.assembly import part_class
from headrouter.editing.request import Request

from .conftest import cases
from .fake import uses
from .told import DAMAGES, command, damaged, refused

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join(['*' + before] * 9)}]\n"
    for before, this in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{this}: &{this}\n  <<: [{', '.join(['*' + before] * 9)}]\n  k{this}: 1\n"
    for before, this in zip("abcdefghi", "bcdefghij", strict=True)
)

BROKEN: dict[str, str] = {
    "open list": "a: [1, 2",
    "open text": 'a: "b',
    "tab": "a:\n\tb: 1",
    "indentation": "a: 1\n b: 2",
    "twice": "a: 1\na: 2",
    "twice as text": "1: a\n'1': b",
    "twice below": "a: {b: 1, b: 2}",
    "two documents": "a: 1\n---\nb: 2",
    "no anchor": "a: *b",
    "bomb": BOMB,
    "bomb of merges": MERGES,
    "itself": "&a [*a]",
    "itself below": "a: &a {b: *a}",
    "merge of text": "<<: abc",
    "depth": "[" * 20_000,
    "depth of mappings": "{a: " * 20_000,
    "closed depth": "[" * 5_000 + "]" * 5_000,
    "python object": "!!python/object/apply:os.system ['true']",
    "unknown tag": "!x 1",
    "tag of a time": "!!timestamp abc",
    "tag of a truth": "!!bool abc",
    "tag of a number": "!!int abc",
    "tag of no number": "!!int ''",
    "tag of a float": "!!float abc",
    "tag of bytes": "!!binary ä",
    "tag of a set": "!!set [1]",
    "tag of pairs": "!!pairs 3",
    "tag of a map": "!!map 3",
    "list as key": "? [a]\n: 1",
    "zero": "a: \0",
    "control": "a: \x1b",
    "half a character": "a: '\ud800'",
    "directive": "%YAML 9.9\n---\na",
    "long number": "9" * 5_000,
    "at": "a: @b",
    "percent": "%",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_yaml_is_refused(name: str) -> None:
    assert "a.yaml" in refused(lambda: parse_yaml(BROKEN[name], "a.yaml"))[0]


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: \xe9", b"\x00\x01", b"\xed\xa0\x80"])
def test_files_that_are_no_text_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    assert "a.yaml" in refused(lambda: read_yaml(path))[0]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["x" * 100_000, 10**400, -0.0]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inside)
    ),
    max_leaves=5,
)
PARTS = {
    ("backbone", name): part_class("backbone", name) for name in ("flux", "sd3", "sd3.5")
} | {
    ("inversion", name): part_class("inversion", name)
    for name in ("euler", "rf", "rf-sde", "rf-solver", "fireflow", "flowedit", "sdedit")
} | {("method", "headrouter"): part_class("method", "headrouter"), ("request", ""): Request}  # fmt: skip


@given(st.data())
@cases(1000)
def test_values_of_any_type_are_taken_or_refused(data: st.DataObject) -> None:
    """What is taken is of the type that the field says, and says the same when it is written down and read again."""
    part = PARTS[data.draw(st.sampled_from(sorted(PARTS)))]
    fields = [*part.model_fields, "unknown"]
    given_values = data.draw(st.dictionaries(st.sampled_from(fields), VALUES, min_size=1, max_size=3))
    told, made = refused(lambda: validate(part, given_values))
    if made is not None:
        assert "unknown" not in given_values
        assert validate(part, made.model_dump()) == made
    else:
        assert "`" in told


@given(st.text(max_size=60))
@cases(500)
def test_any_text_is_yaml_or_refused(text: str) -> None:
    refused(lambda: parse_yaml(text, "a.yaml"))


YAML = (
    "method:\n  gamma: 0.3\n  layers: [1, 2]\n  note: &n 'abc'\nother: *n\nmore:\n- {a: 1, b: !!int 3}\n- ? x\n  : ~\n"
)


@given(st.floats(0, 1), st.sampled_from(DAMAGES), st.binary(min_size=1, max_size=6))
@cases(500)
def test_damaged_yaml_is_read_or_refused(place: float, how: str, noise: bytes) -> None:
    text = damaged(YAML.encode(), place, how, noise).decode("utf-8", "surrogateescape")
    refused(lambda: validate(PARTS["method", "headrouter"], parse_yaml(text, "a.yaml")))


NAMES = st.sampled_from(
    [
        "method",
        "backbone",
        "inversion",
        "method.gamma",
        "inversion.eta",
        "method.0",
        "a.b",
        ".",
        "..",
        "x=",
        "method..a",
        "ä",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [*BROKEN.values(), ".nan", ".inf", "-1", "1e999", "[1, 2]", "{a: 1}", "true", "null", "'3'", "x" * 9999]
    ),
)


@given(NAMES, TEXTS, st.sampled_from(["=", "", "==", " = "]))
@cases(400)
def test_overrides_are_taken_or_refused(name: str, text: str, equals: str) -> None:
    def put() -> Any:
        given_overrides = parse_overrides([f"{name}{equals}{text}"])
        return validate(PARTS["method", "headrouter"], {}, given_overrides)

    refused(put)


@pytest.mark.parametrize("value", sorted(set(BROKEN) - {"zero", "half a character"}))
def test_broken_overrides_on_the_command_line(value: str, tmp_path: Path) -> None:
    photo, output, before = tmp_path / "a.png", tmp_path / "out", uses.copy()
    Image.new("RGB", (20, 20)).save(photo)
    asked = ["edit", photo, "--prompt", "a", "--backbone", "fake", "-o", output]
    code, told = command(*asked, "--set", f"method.gamma={BROKEN[value]}", output=output)
    assert code == 2
    assert "--set" in told
    assert uses == before
