"""Errors in a configuration name the place, the field, the rule, the value and the way out; all of them at once."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from headrouter.cli.overrides import parse_overrides
from headrouter.config.configuration import Parameters, validate
from headrouter.config.yaml_document import parse_yaml, read_yaml
from headrouter.errors import InvalidInputError
from headrouter.methods.method import Method
from headrouter.plugins import Registry
from headrouter.plugins.schema import schema
from headrouter.plugins.specifications import MethodSpec, hookimpl


class Flux(Parameters):
    name: Literal["flux"] = "flux"
    guidance: float = Field(3.5, ge=0, description="guidance of the distilled model")


class SD3(Parameters):
    name: Literal["sd3.5"] = "sd3.5"
    skip_layers: tuple[int, ...] = ()
    mode: Literal["literal", "centred", "share"] = "literal"

    @field_validator("skip_layers")
    @classmethod
    def ascending(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if list(layers) != sorted(layers):
            raise ValueError("layers must ascend")
        return layers


class Matrix(Parameters):
    backbone: list[Annotated[Flux | SD3, Field(discriminator="name")]]


class Experiment(Parameters):
    title: str
    steps: int = 28
    matrix: Matrix
    note: str | None = None


GOOD = """\
title: try
matrix:
  backbone:
    - {name: flux, guidance: 1e-1}
    - name: sd3.5
      skip_layers: [7, 8]
"""

BAD = """\
titel: try
steps: true
matrix:
  backbone:
    - name: flux
      guidance: -1
    - name: sd3.5
      skip_layer: [7, 8]
      mode: centered
      skip_layers: [8, 7]
    - name: sd4
    - {name: flux, guidance: .inf}
"""


def messages(call):
    with pytest.raises(InvalidInputError) as caught:
        call()
    return str(caught.value).splitlines()


def test_a_good_document():
    experiment = validate(Experiment, parse_yaml(GOOD, "good.yaml"))
    assert experiment.matrix.backbone[0].guidance == 0.1
    assert experiment.matrix.backbone[1].skip_layers == (7, 8)


def test_every_error_at_once_each_with_its_place():
    assert messages(lambda: validate(Experiment, parse_yaml(BAD, "bad.yaml"))) == [
        "bad.yaml:1:1: `title`: Field required",
        "bad.yaml:2:8: `steps`: Input should be a valid integer (got True)",
        "bad.yaml:6:17: `matrix.backbone.0.guidance`: Input should be greater than or equal to 0 (got -1)",
        "bad.yaml:10:20: `matrix.backbone.1.skip_layers`: layers must ascend (got [8, 7])",
        "bad.yaml:9:13: `matrix.backbone.1.mode`: Input should be 'literal', 'centred' or 'share' (got 'centered'). "
        "Did you mean 'centred'?",
        "bad.yaml:8:7: `matrix.backbone.1.skip_layer`: unknown name (got [7, 8]). Did you mean `skip_layers`?",
        "bad.yaml:11:7: `matrix.backbone.2`: Input tag 'sd4' found using 'name' does not match any of the expected "
        "tags: 'flux', 'sd3.5' (got {'name': 'sd4'})",
        "bad.yaml:12:30: `matrix.backbone.3.guidance`: Input should be a finite number (got inf)",
        "bad.yaml:1:1: `titel`: unknown name (got 'try'). Did you mean `title`?",
    ]


def test_without_a_file_there_is_no_place():
    assert messages(lambda: validate(Flux, {"guidance": "3"})) == [
        "`guidance`: Input should be a valid number (got '3')"
    ]
    assert messages(lambda: validate(Flux, {"zzz": 1})) == ["`zzz`: unknown name (got 1). Known: guidance, name."]
    assert messages(lambda: validate(Experiment, parse_yaml("- 1", "list.yaml")))[0].startswith("list.yaml:1:1: ")
    assert len(messages(lambda: validate(Experiment, parse_yaml("", "empty.yaml")))) == 2


def test_overrides_are_validated_and_named():
    document = parse_yaml(GOOD, "good.yaml")
    overrides = parse_overrides(["matrix.backbone.0.guidance=7", "note=a cat", "steps=4", "steps=5"])
    experiment = validate(Experiment, document, overrides)
    assert (experiment.matrix.backbone[0].guidance, experiment.note, experiment.steps) == (7, "a cat", 5)
    assert document.data["matrix"]["backbone"][0]["guidance"] == 0.1, "the document is left alone"
    overrides = parse_overrides(["matrix.backbone.0.guidance=no", "stepz=3", "matrix.backbone.1.mode=shared"])
    assert messages(lambda: validate(Experiment, document, overrides)) == [
        "--set matrix.backbone.0.guidance: `matrix.backbone.0.guidance`: Input should be a valid number (got 'no')",
        "--set matrix.backbone.1.mode: `matrix.backbone.1.mode`: Input should be 'literal', 'centred' or 'share' "
        "(got 'shared'). Did you mean 'share'?",
        "--set stepz: `stepz`: unknown name (got 3). Did you mean `steps`?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps", r"`--set` takes NAME=VALUE .* \(got 'steps'\)"),
        ("=3", "takes NAME=VALUE"),
        ("a..b=3", "takes NAME=VALUE"),
        ("steps=[1", "--set steps=.1:1:3: not valid YAML"),
        ("matrix.backbone.7.name=x", "`matrix.backbone` is a list of 2, it has no item '7'"),
        ("matrix.backbone.first=x", "it has no item 'first'"),
        ("title.x=3", "`title` is 'try', which has no parts to set"),
    ],
)
def test_overrides_that_cannot_be(text, message):
    with pytest.raises(InvalidInputError, match=message):
        validate(Experiment, parse_yaml(GOOD, "good.yaml"), parse_overrides([text]))


@pytest.mark.parametrize("start", [{"title": "t"}, {"title": "t", "matrix": None}])
def test_an_override_may_make_a_new_mapping(start):
    assert validate(Experiment, start, parse_overrides(["matrix.backbone=[]"])).matrix.backbone == []


def test_an_override_changes_one_place_even_where_yaml_shares():
    document = parse_yaml("{a: &a {whole: 1}, b: *a}", "x.yaml")
    pair = validate(Pair, document, parse_overrides(["a.whole=2"]))
    assert (pair.a.whole, pair.b.whole) == (2, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("-2", -2), (".5", 0.5), ("5.", 5.0), ("010", 10.0), ("1:30", "1:30"), ("on", "on"),
        ("no", "no"), ("off", "off"),
        ("true", True), ("~", None), ("", None), ("2026-11-21", "2026-11-21"), ("'3'", "3"), ("[1, a]", [1, "a"]),
        ("1_000", "1_000"), ("0x10", "0x10"), ("a: {b: 1}", {"a": {"b": 1}}), ("on: x", {"on": "x"}),
    ],
)  # fmt: skip
def test_yaml_means_what_it_looks_like(text, value):
    got = parse_yaml(text, "x").data
    assert got == value
    assert type(got) is type(value)


def test_yaml_merges_anchors():
    text = "base: &b {x: 1, y: 2}\nhere:\n  <<: *b\n  y: 3"
    document = parse_yaml(text, "m.yaml")
    assert document.data["here"] == {"x": 1, "y": 3}
    assert document.locate(("here", "y")) == "m.yaml:4:6"
    assert document.locate(("here", "x")) == "m.yaml:1:14", "merged from there"


def test_yaml_merges_of_merges_are_not_keys_given_twice():
    text = "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: [{<<: *b, x: 3}, {<<: *b}]"
    assert parse_yaml(text, "m.yaml").data["c"] == [{"x": 3}, {"x": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "x.yaml:2:1: not valid YAML: the key 'a' is there twice"),
        ("a: [1", "x.yaml:1:6: not valid YAML: expected ',' or ']'"),
        ("a: !!python/object/apply:os.system [ls]", "x.yaml:1:4: not valid YAML: could not determine a constructor"),
        ("a: 1\n---\nb: 2", "x.yaml:2:1: not valid YAML"),
        ("a: \x07", "x.yaml: not valid YAML"),
        ("[" * 100_000, "x.yaml: not valid YAML"),
        ("? [a, b]\n: 1", "x.yaml:1:3: not valid YAML: found unhashable key"),
    ],
)
def test_yaml_that_is_not(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_yaml(text, "x.yaml")


def test_files(tmp_path):
    path = tmp_path / "x.yaml"
    with pytest.raises(InvalidInputError, match=r"cannot read '.*x.yaml': No such file"):
        read_yaml(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(path).data == {"a": 1}


NAMES = st.text(alphabet="abc", min_size=1, max_size=3)
TREES = st.recursive(
    st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@given(TREES)
def test_the_place_of_a_value_is_where_it_is_written(tree):
    import yaml

    text = yaml.safe_dump(tree)
    document = parse_yaml(text, "t")
    assert document.data == tree

    def walk(value, path):
        line, column = map(int, document.locate(path).split(":")[1:])
        if isinstance(value, int):
            assert text.splitlines()[line - 1][column - 1 :].startswith(str(value))
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            walk(item, (*path, key))

    walk(tree, ())


class Strictness(Parameters):
    whole: int = 1
    real: float = 1.0
    word: str = ""
    flag: bool = False
    pair: tuple[float, float] | None = None
    table: dict[str, list[int]] = Field(default_factory=dict)
    folder: Path = Path()
    either: int | str = 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"whole": True}, {"whole": 1.0}, {"whole": "1"}, {"real": True}, {"real": "1"}, {"real": float("nan")},
        {"real": float("inf")}, {"word": 1}, {"flag": 1}, {"flag": "yes"}, {"pair": [1, "2"]}, {"pair": [1, True]},
        {"table": {"a": [True]}}, {"other": 1}, {"folder": 3}, {"either": True}, {"either": 1.0},
    ],
)  # fmt: skip
def test_scalars_are_never_converted(wrong):
    with pytest.raises(ValidationError):
        Strictness(**wrong)


def test_what_is_meant_is_accepted():
    got = Strictness(real=1, pair=[1, 2.5], table={"a": [1]}, folder="a/b", either="3")
    assert (got.folder, got.either) == (Path("a/b"), "3")
    assert (type(got.real), got.pair) == (float, (1.0, 2.5))
    assert Strictness.model_validate_json(got.model_dump_json()) == got
    with pytest.raises(ValidationError, match="frozen"):
        got.whole = 2


class Pair(Parameters):
    a: Strictness
    b: Strictness


class Routing(Method):
    """Parameters with a shared part."""

    gamma: float = Field(0.3, ge=0, description="strength γ")
    where: Flux = Flux()


class Provider:
    headrouter_api = 1

    @hookimpl
    def register_methods(self, register):
        register(MethodSpec("headrouter", "test_configuration:Routing", aliases=("hr",), summary="Routes heads."))
        register(MethodSpec("none", "headrouter.methods.head_router.method:NoMethod"))


def test_the_schema_describes_what_is_installed():
    registry = Registry()
    registry.register(Provider())
    document = schema(registry)
    *one, several = document["properties"]["method"]["anyOf"]
    assert one[0] == {"enum": ["headrouter", "hr", "runtime:headrouter"]}
    assert one[1] == {"$ref": "#/$defs/method.runtime:headrouter"}
    assert several == {"type": "array", "items": {"anyOf": one}}
    assert document["properties"]["backbone"] is False, "none is installed, so none can be named"
    routing = document["$defs"]["method.runtime:headrouter"]
    assert routing["properties"]["name"] == {
        "enum": ["headrouter", "hr", "runtime:headrouter"],
        "description": "Routes heads.",
    }
    assert routing["properties"]["gamma"]["minimum"] == 0
    assert routing["required"] == ["name"]
    assert routing["additionalProperties"] is False

    def follow(node):
        if isinstance(node, dict):
            if "$ref" in node:
                target = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for part in node.values():
                follow(part)
        elif isinstance(node, list):
            for part in node:
                follow(part)

    follow(document)
