"""Presets of the drawn world serve the inversion and the method at once."""

from typing import Any

import pytest
from headrouter_shapes.presets import RELEASE
from headrouter_shapes.world.vocabulary import SEMANTICS
from PIL import Image

from headrouter.editing.editor import Editor
from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.new("RGB", (32, 32), "teal")


def record(*parts: Any, **values: Any) -> dict[str, Any]:
    editor = Editor(ToyMMDiT(), *parts, progress=False)
    return editor.edit(PICTURE, "a dog", "a cat", **{"preset": "drawn-colour", "maps": False, **values}).record.plain()


def test_there_is_one_for_each_kind_of_edit() -> None:
    assert set(RELEASE) == {"drawn", "drawn-kept", *(f"drawn-{kind}" for kind in SEMANTICS)}


def test_one_of_them_blends() -> None:
    made = record("rf", ["local-blend", "headrouter"], preset="drawn-kept", steps=14)
    blend, router = made["methods"]
    assert (made["inversion"]["hold_source"], made["inversion"]["stop"]) == (True, 7)
    assert (blend["mask"], blend["blend"]) == ({"name": "attention"}, 1.0)
    assert (router["image_tokens"], router["gamma"], router["start"], router["stop"]) == ("off", 0.5, 7, 9)
    assert record("rf", "headrouter", preset="drawn", steps=28)["inversion"]["hold_source"] is False


def test_one_of_them_is_for_flowedit() -> None:
    made = record("flowedit", ["local-blend", "headrouter"], preset="drawn-flow", steps=14)
    blend, router = made["methods"]
    assert (made["inversion"]["last_steps"], blend["mask"], blend["blend"]) == (0.6, {"name": "attention"}, 1.0)
    assert (router["image_tokens"], router["gamma"], router["start"], router["stop"]) == ("off", 0.1, 0, 1.0)


def test_one_of_them_is_under_little_guidance_and_not_for_heads() -> None:
    made = record("flowedit", "local-blend", preset="drawn-gentle", steps=28)
    (blend,) = made["methods"]
    assert (made["inversion"]["last_steps"], made["inversion"]["source_guidance"]) == (0.75, 1.0)
    assert (made["edit"]["guidance"], blend["mask"], blend["blend"]) == (2.0, {"name": "attention"}, 1.0)
    with pytest.raises(IncompatibleError, match="drawn-gentle"):
        record("rf", "headrouter", preset="drawn-gentle", steps=4)


def test_both_parts_get_their_values() -> None:
    made = record("rf", "headrouter", steps=14)
    (method,) = made["methods"]
    assert (made["inversion"]["eta"], made["inversion"]["stop"]) == (1.0, 9)
    assert (method["gamma"], method["start"], method["stop"]) == (0.5, 9, 11)


def test_what_the_user_sets_goes_first() -> None:
    made = record("rf", HeadRouter(gamma=0.1), steps=28, keep=0.5)
    assert (made["inversion"]["eta"], made["methods"][0]["gamma"], made["methods"][0]["start"]) == (0.5, 0.1, 18)


def test_one_part_alone_gets_its_own() -> None:
    assert record("rf", None, steps=28)["inversion"]["stop"] == 18
    assert record("euler", "headrouter", steps=28)["methods"][0]["start"] == 18
    with pytest.raises(IncompatibleError, match=r"inversion .rf. and the method .headrouter., which take no part here"):
        record("euler", None, steps=4)
