"""Masks where prompts are instructions: each source of a mask and each part that takes one works there, or is refused by name."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.instruct import Instruct
from headrouter_operators.mask import MaskOperator
from headrouter_shapes.bench import cases
from headrouter_shapes.world.render import render

from headrouter import Editor
from headrouter.cli import main
from headrouter.config.configuration import validate
from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError, SourceWarning
from headrouter.masks.part import mask_of
from headrouter.methods.head_router.method import HeadRouter
from headrouter.testing.toy import ToyMMDiT

CASE = cases("tune", 1)[0]
PICTURE, INSTRUCTION = render(CASE.source), CASE.instruction
LEFT = np.arange(64)[None].repeat(64, 0) < 24
HELD = Instruct(hold_source=True)


@pytest.fixture(scope="module")
def kontext() -> Any:
    return Editor("flux-kontext", model="shapes", progress=False).backbone


def left(picture: Any, prompt: str) -> Any:
    return LEFT


def edit(backbone: Any, method: Any = None, inversion: Any = HELD, operators: Any = None, **asked: Any) -> Any:
    editor = Editor(backbone, inversion, method, operators=operators, progress=False)
    return editor.edit(PICTURE, INSTRUCTION, steps=2, guidance=1.0, maps=False, **asked)


def pixels(result: Any) -> Any:
    return np.asarray(result.image).astype(int)


@pytest.mark.parametrize("mask", ["attention", "velocity", "words(target_words='squares', blocks=[3])", LEFT, left])
def test_each_source_of_a_mask_works_on_instructions(kontext: Any, mask: Any) -> None:
    """The mask is a part of the picture, and outside it the edit is the picture itself, as the autoencoder gives it back."""
    result = edit(kontext, LocalBlend(blend=1.0), mask=mask)
    inside = np.asarray(result.mask()) > 0
    assert 0 < inside.mean() < 1
    nothing = pixels(edit(kontext, LocalBlend(blend=1.0, mask=~mask_of("none"))))
    off = np.abs(pixels(result) - nothing).mean(axis=-1)
    assert off[inside].any() and off[~inside].mean() < max(0.5, off[inside].mean() / 2)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("words", r"`mask.target_words` must say which words of the instruction .* name the place .*'velocity'"),
        ("words(target_words='squares')", r"`mask.blocks` must be given: this model has no ranking"),
        ("words(target_words='fox', blocks=[3])", "'fox' is not in the prompt"),
        ("region", "works in experiments alone"),
    ],
)
def test_a_source_that_cannot_be_is_refused_by_name(kontext: Any, mask: str, message: str) -> None:
    with pytest.raises(HeadRouterError, match=message):
        edit(kontext, LocalBlend(), mask=mask)


@pytest.mark.parametrize(
    "parts",
    [
        {"method": LocalBlend(blend=1.0)},
        {"operators": MaskOperator()},
        {"method": HeadRouter(where="mask")},
        {"method": Injection(tau=1.0, replace="kivi")},
        {"paste": True},
    ],
    ids=["local-blend", "operator", "headrouter", "injection", "paste"],
)
def test_each_part_that_takes_a_mask_obeys_it_on_instructions(kontext: Any, parts: dict[str, Any]) -> None:
    masks = LEFT, ~LEFT
    first, second = (pixels(edit(kontext, mask=mask, **parts)) for mask in masks)
    assert np.abs(first - second).max() > 3


def test_a_held_source_is_the_picture_through_the_autoencoder(kontext: Any) -> None:
    """It is known without the model; a row under the null instruction is another picture."""
    nowhere = LocalBlend(blend=1.0, mask=~mask_of("none"))
    held = edit(kontext, nowhere)
    with pytest.warns(SourceWarning):
        free = edit(kontext, nowhere, Instruct())
    given = torch.from_numpy(np.array(PICTURE, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    through = kontext.decode(kontext.encode_image(given))[0]
    back = ((through.clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(pixels(held) - back).max() < 1.5 < np.abs(pixels(free) - back).max()
    assert (held.cost.rows, free.cost.rows) == (2, 4)
    with pytest.raises(InvalidInputError, match="`hold_source` keeps the source's row"):
        validate(Instruct, {"hold_source": True, "null_instruction": None})


@pytest.mark.parametrize(
    "parts",
    [
        {"method": LocalBlend(mask="attention")},
        {"method": Injection()},
        {"operators": "projection"},
        {"mask": "velocity", "paste": True},
    ],
    ids=["local-blend", "injection", "operator", "mask"],
)
def test_without_a_null_instruction_the_refusal_names_it(parts: dict[str, Any]) -> None:
    with pytest.raises(IncompatibleError, match=r"Give `inversion\.null_instruction`, which asks for no change"):
        edit(ToyMMDiT(), inversion=Instruct(null_instruction=None), size=(32, 32), **parts)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"method": ["headrouter", LocalBlend(mask="velocity")]}, "`method` 'local-blend' keeps"),
        ({"operators": ["projection", MaskOperator(mask="velocity")]}, "`operator` 'mask' keeps"),
    ],
    ids=["local-blend", "operator"],
)
def test_a_part_that_puts_back_what_is_not_the_picture_warns_once(parts: dict[str, Any], named: str) -> None:
    """With what to set: then, and for parts that only compare, there is no warning."""
    toy, asked = ToyMMDiT(), {"size": (32, 32)}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(2):
            edit(toy, inversion=Instruct(), **parts, **asked)
    (one,) = seen
    assert one.category is SourceWarning
    assert str(one.message).startswith(named) and "`inversion` 'instruct'" in str(one.message)
    assert "Set `inversion.hold_source=true`" in str(one.message)
    edit(toy, **parts, **asked)
    edit(toy, "headrouter", Instruct(), **asked)
    edit(toy, inversion="rf", **parts, **asked)


def command(tmp_path: Path, pictures: str, *more: str) -> int:
    how = ("--backbone", "flux-kontext", "--model", "shapes", "--method", "local-blend", "--no-progress")
    return main(["edit", str(tmp_path / pictures), "--prompt", INSTRUCTION, *how, *more, "-o", str(tmp_path / "out")])


def test_the_command_line_warns_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, not for each picture."""
    for name in ("first", "second"):
        PICTURE.save(tmp_path / f"{name}.png")
    assert command(tmp_path, "*.png", "--steps", "1", "--mask", "attention") == 0
    said = capsys.readouterr().err
    assert said.count("warning:") == said.count("warning: `method` 'local-blend' keeps the source in places") == 1


def test_the_command_line_refuses_words_of_an_instruction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PICTURE.save(tmp_path / "star.png")
    assert command(tmp_path, "star.png") != 0
    assert "`mask.target_words` must say" in capsys.readouterr().err
