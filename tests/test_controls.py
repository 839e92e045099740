"""Controls of a page or a node, made of the pydantic models of the parts."""

import math

import pytest
from pydantic import BaseModel, Field

from headrouter.config.configuration import validate
from headrouter.config.controls import Control, controls_of, given
from headrouter.editing.assembly import part_class
from headrouter.editing.request import Request
from headrouter.errors import InvalidInputError
from headrouter.plugins import registry

PARTS = [
    (kind, entry.item.name)
    for kind in ("inversion", "operator", "method", "mask")
    for entry in registry().entries(kind)
    if entry.distribution == "headrouter"
]


def control(kind: str, name: str, field: str) -> Control:
    return next(one for one in controls_of(part_class(kind, name)) if one.name == field)


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_field_of_every_part_has_a_control_that_keeps_its_default(kind: str, name: str) -> None:
    found = part_class(kind, name)
    controls = controls_of(found)
    assert [one.name for one in controls] == list(found.model_fields)
    optional = [one for one in controls if not one.required]
    assert given(controls, {one.name: one.shown(one.default) for one in optional if one.kind == "value"}) == {}
    assert given(controls, {one.name: one.default for one in optional}) == {}
    for one in controls:
        assert one.help, f"{one.name} has no description"
        if one.kind in ("integer", "number") and one.default is not None:
            assert (one.minimum or -math.inf) <= one.default <= (one.maximum or math.inf)
        if one.kind == "choice":
            assert one.choices
            assert one.default in (*one.choices, None)


def test_kinds_and_bounds() -> None:
    assert control("method", "headrouter", "gamma").kind == "number"
    assert (control("method", "headrouter", "gamma").minimum, control("method", "headrouter", "gamma").maximum) == (
        0,
        10,
    )
    assert control("method", "headrouter", "scorer").choices == ("instance-adaptive", "uniform")
    assert control("method", "headrouter", "start").kind == "value"
    assert control("method", "local-blend", "mask").kind == "mask"
    assert control("mask", "union", "of") == Control(
        "of", "masks", help="The masks, of which one is enough.", required=True
    )
    assert control("mask", "picture", "soft").optional
    assert control("inversion", "rf", "hold_source").kind == "boolean"
    assert control("inversion", "flowedit", "offset").choices == ("progress",)
    assert control("inversion", "instruct", "null_instruction").read("null") is None
    quantize = next(one for one in controls_of(part_class("backbone", "sd3.5")) if one.name == "quantize")
    assert (quantize.kind, quantize.choices[0], quantize.optional) == ("value", "nf4", True)
    assert quantize.help


def test_whole_numbers_have_the_last_that_is_taken_as_bound() -> None:
    class Bounded(BaseModel):
        whole: int = Field(1, gt=0, lt=5)
        share: float = Field(0.5, gt=0, lt=1)

    assert [(one.minimum, one.maximum) for one in controls_of(Bounded)] == [(1, 4), (0, 1)]


def test_a_step_is_no_share_of_the_steps() -> None:
    controls = controls_of(part_class("method", "headrouter"))
    assert given(controls, {"stop": "1"}) == {"stop": 1}
    assert given(controls, {"stop": "1.0"}) == {}
    assert validate(part_class("method", "headrouter"), given(controls, {"stop": "1"})).stop == 1


def test_values_that_were_changed_make_the_part() -> None:
    controls = controls_of(part_class("method", "injection"))
    values = given(controls, {"replace": "[qi, I2I]", "tau": "6", "branches": "both", "first": None})
    assert values == {"replace": ["qi", "I2I"], "tau": 6}
    assert validate(part_class("method", "injection"), values).replace == ("qi", "I2I")


def test_the_controls_of_a_request_have_the_knobs() -> None:
    names = [one.name for one in controls_of(Request)]
    assert {"preset", "keep", "push", "steps", "guidance", "seed", "mask", "paste"} <= set(names)


def test_text_that_is_no_yaml_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="`start`"):
        control("method", "headrouter", "start").read("[1")
