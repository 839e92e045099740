"""Edits at the strength that the model chooses: which one it keeps, what it costs, and where there is nothing to choose."""

import json
from dataclasses import replace

import pytest
import torch
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion

from headrouter import Editor, replay
from headrouter.attention.rows import Row
from headrouter.config.configuration import validate
from headrouter.editing.assembly import part_class
from headrouter.editing.batch import Batch, Task
from headrouter.editing.tuning import Plan
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.experiments.composing import configure
from headrouter.models.likelihood import LEVELS, margins, weakest_that_took
from headrouter.prompts.prompt import Prompt
from headrouter.testing.toy import ToyMMDiT
from tests.builders import PICTURE, sd35_in

PROMPTS = ["a red square", "a blue disc on a gray ground"]


def edited(inversion, strength=None, **asked):
    editor = Editor(ToyMMDiT(), inversion, asked.pop("method", None), progress=False)
    return editor.edit(PICTURE, PROMPTS, "a square", steps=10, strength=strength, maps=False, **asked)


def test_margin_is_the_difference_of_both_errors():
    generator = torch.Generator().manual_seed(0)
    latents, drawn = (torch.randn(count, 2, 4, 4, generator=generator) for count in (3, len(LEVELS)))
    source, target = (Row(Prompt(text, {}), Prompt("", {}), 1.0, 0) for text in ("source", "target"))
    off = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1)

    def evaluate(noised, sigma, rows):
        noise = drawn[LEVELS.index(sigma)]
        assert [row.prompt.text for row in rows] == ["source"] * 3 + ["target"] * 3
        assert torch.equal(noised[:3], (1 - sigma) * latents + sigma * noise) and torch.equal(noised[:3], noised[3:])
        return torch.cat([noise - latents + off, noise - latents - 0.1])  # the source's prompt is off, by picture

    found = margins(evaluate, latents, lambda number: drawn[number : number + 1], source, target)
    torch.testing.assert_close(found, off.flatten() ** 2 - 0.01)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([-1.0, 0.71, 1.0, 1.0], 0),
        ([-1.0, 0.69, 0.9, 1.0], 1),
        ([-1.0, 0.0, 0.5, 1.0], 2),
        ([0.0, -0.2, 0.1, -0.1], 1),  # the strongest went wrong, and the one before did not
        ([0.0, -0.2, -0.1, -0.3], 2),
        ([0.0, 0.0, 0.0, 0.0], 2),
        ([0.0, float("nan"), float("nan"), float("nan")], 2),
    ],
)
def test_weakest_edit_near_the_strongest_is_kept(column, expected):
    assert weakest_that_took(torch.tensor([column]).T) == [expected]


@pytest.mark.parametrize("inversion", ["flowedit", "rf", "sdedit"])
def test_each_edit_is_that_of_the_strength_that_was_chosen(inversion):
    found = edited(inversion, "auto", seed=[0, 3])
    kind = part_class("inversion", inversion)
    scale = kind.strengths
    assert len(found.strengths) == 4
    for number, (image, chosen) in enumerate(zip(found.images, found.strengths, strict=True)):
        name, value = chosen.split("=")
        assert name == scale.parameter and float(value) in scale.values
        alone = edited(validate(kind, {name: float(value)}), seed=[0, 3])
        assert image == alone.images[number]


def test_kept_sources_are_those_beside_the_strongest_edits():
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plan = Plan(RFInversion(), (), 10, 3.0, strength="auto")
    batch = Batch(ToyMMDiT(), plan, (Task(("a dog",), (0,), "a cat", pixels),), (16, 16))
    weakest, *_, strongest = (replace(batch, plan=one).edit(keep_sources=True).sources for one in plan.at_strengths())
    assert torch.equal(batch.edit(keep_sources=True).sources, strongest)
    assert not torch.equal(weakest, strongest)


def test_diagnostics_and_masks_are_those_of_the_chosen_edits():
    found = edited("flowedit", "auto", method=["local-blend", "head-routing"], mask="attention")
    for number, chosen in enumerate(found.strengths):
        set_to = FlowEdit(last_steps=float(chosen.split("=")[1]))
        alone = edited(set_to, method=["local-blend", "head-routing"], mask="attention")
        assert found.mask(number) == alone.mask(number)
        torch.testing.assert_close(found.head_weights[number], alone.head_weights[number], equal_nan=True)


def test_cost_is_that_of_all_strengths_and_of_the_judgement():
    found = edited("rf", "auto", seed=1)
    each = [edited(RFInversion(stop=value), seed=1).cost.calls for value in RFInversion.strengths.values]
    inverting = Editor(ToyMMDiT(), "rf", None, progress=False).invert(PICTURE, "a square", steps=10).cost.calls
    assert found.cost.calls == sum(each) - 2 * inverting + len(LEVELS) * len(PROMPTS)  # the inversion is shared


def test_few_rows_at_once_choose_the_same():
    few = Editor(ToyMMDiT(), "flowedit", None, progress=False, max_rows=2)
    assert few.edit(PICTURE, PROMPTS, "a square", steps=10, strength="auto", maps=False).strengths == (
        edited("flowedit", "auto").strengths
    )


def test_it_is_on_the_record_and_replayed(tmp_path):
    editor = Editor("sd3.5", "flowedit", None, model=str(sd35_in(tmp_path)), progress=False)
    found = editor.edit(PICTURE, "a disc", "a square", steps=5, strength="auto")
    found.save(tmp_path / "out")
    plain = json.loads((tmp_path / "out" / "result.json").read_text())
    assert plain["edit"]["strength"] == "auto" and plain["strengths"] == list(found.strengths)
    again = replay(tmp_path / "out", progress=False)
    assert again.image == found.image and again.record.hash == found.record.hash
    plainly = editor.edit(PICTURE, "a disc", "a square", steps=5)
    assert plainly.record.hash != found.record.hash and "strength" not in plainly.record.plain()["edit"]


def test_what_has_nothing_to_choose_is_refused_by_name():
    with pytest.raises(IncompatibleError, match=r"`strength` 'auto' has nothing to choose: `inversion` 'euler'"):
        edited("euler", "auto")
    with pytest.raises(IncompatibleError, match=r"chooses `inversion.last_steps` of \[0.5, 0.6, 0.7\].*set to 0.4"):
        edited(FlowEdit(last_steps=0.4), "auto")
    with pytest.raises(IncompatibleError, match="by a preset"):
        edited("rf", "auto", preset="drawn")
    with pytest.raises(InvalidInputError, match="`strength`"):
        edited("flowedit", "strong")


def test_a_configuration_of_an_experiment_has_it():
    one = configure("a", inversion="flowedit", method="none", model="shapes", strength="auto")
    assert one.plan.strength == "auto" and one.record.edit.strength == "auto"
    assert one.hash != replace(one, strength=None).hash
