"""Editing by instructions: the stock pipelines' pictures, what HeadRouter compares there, and what is refused."""

import json

import numpy as np
import pytest
import torch
from headrouter_flux2.parameters import KleinParameters
from headrouter_flux2.testing import tiny_klein
from headrouter_flux_kontext.parameters import KontextParameters
from headrouter_flux_kontext.testing import tiny_kontext
from headrouter_inversions.instruct import Instruct
from headrouter_qwen_image_edit.parameters import EditParameters
from headrouter_qwen_image_edit.testing import tiny_qwen_image_edit
from PIL import Image

from headrouter import Editor, replay
from headrouter.cli import main
from headrouter.editing.record_file import record_from
from headrouter.errors import IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.experiments.composing import configure
from headrouter.methods.head_router.head_routing import HeadRouting
from headrouter.methods.head_router.method import HeadRouter

INSTRUCTION, SIZE = "make the cat red", (48, 32)
ASKED = {"prompt": INSTRUCTION, "steps": 3, "size": SIZE, "seed": 1}


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray((np.random.default_rng(seed).random((*size[::-1], 3)) * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def kontext():
    return KontextParameters(max_sequence_length=24).load("tiny", tiny_kontext())


def editor(backbone, method=None, **inversion) -> Editor:
    return Editor(backbone, Instruct(**inversion) if inversion else None, method, progress=False)


def pixels(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_an_edit_is_the_stock_pipelines_and_needs_no_source_prompt(kontext):
    found = editor(kontext).edit(picture(), **ASKED)
    [stock] = kontext.pipeline(
        image=picture(),
        prompt=INSTRUCTION,
        width=SIZE[0],
        height=SIZE[1],
        max_area=SIZE[0] * SIZE[1],
        _auto_resize=False,
        num_inference_steps=3,
        guidance_scale=2.5,
        max_sequence_length=24,
        generator=torch.Generator().manual_seed(1),
    ).images
    assert np.array_equal(found.image, stock)
    assert found.cost.rows == 3, "no source's row runs where nothing compares with it"


def test_a_new_picture_needs_no_reference(kontext):
    [found] = editor(kontext).generate("a cat", steps=2, size=SIZE)
    [stock] = kontext.pipeline(
        prompt="a cat",
        width=SIZE[0],
        height=SIZE[1],
        max_area=SIZE[0] * SIZE[1],
        num_inference_steps=2,
        guidance_scale=2.5,
        max_sequence_length=24,
        generator=torch.Generator().manual_seed(0),
    ).images
    assert np.array_equal(found, stock)


def test_headrouter_compares_with_the_null_instruction(kontext):
    """Neutral it changes no bit; under the null instruction itself nothing differs; else the edit is another."""
    nothing = HeadRouter(gamma=0, alpha=2, nu=0, rho=0)
    plain, neutral = (editor(kontext, method).edit(picture(), **ASKED) for method in (None, nothing))
    assert np.array_equal(plain.image, neutral.image)
    steered = editor(kontext, HeadRouter()).edit(picture(), **ASKED)
    assert np.abs(pixels(steered.image) - pixels(plain.image)).max() > 3
    assert steered.cost.rows == 6
    same = HeadRouting(form="anchored")
    alike = editor(kontext, same, null_instruction=INSTRUCTION).edit(picture(), **ASKED)
    assert np.array_equal(alike.image, plain.image)
    assert float(alike.recorded("dissimilarity").nan_to_num().abs().max()) == 0
    worded = editor(kontext, HeadRouter(), null_instruction="keep the picture").edit(picture(), **ASKED)
    assert not np.array_equal(worded.image, steered.image)
    assert worded.source_prompt.text == "keep the picture"


def test_the_method_where_none_is_named_is_the_inversions(kontext, klein):
    """By instructions nothing steers, the stock pipeline's edit; with captions HeadRouter does."""
    default, plain = Editor(kontext, progress=False), editor(kontext)
    assert np.array_equal(default.edit(picture(), **ASKED).image, plain.edit(picture(), **ASKED).image)
    steering = [HeadRouter()]
    captions = Editor(klein, progress=False)
    assert [*captions.methods] == steering and [*captions.with_parts("instruct", "headrouter").methods] == steering
    unsteered = captions.with_parts("instruct"), default, default.with_parts(), Editor(klein, "instruct")
    assert not any(isinstance(method, HeadRouter) for one in unsteered for method in one.methods)
    study = configure("study", "flux-kontext", model="dev")
    assert isinstance(study.inversion, Instruct) and not study.methods
    assert [*configure("study", "flux2", model="dev").methods] == steering
    with pytest.raises(UnknownNameError, match="'auto'"):
        Editor(klein, method=["auto", "maps"])


def test_pictures_that_are_edited_together_are_each_its_own_reference(kontext):
    together = editor(kontext, HeadRouter()).edit_together([picture(0), picture(1)], **ASKED)
    for seed, found in enumerate(together):
        alone = editor(kontext, HeadRouter()).edit(picture(seed), **ASKED)
        assert np.abs(pixels(found.image) - pixels(alone.image)).max() <= 1


def test_a_reconstruction_is_the_edit_by_the_null_instruction(kontext):
    found = editor(kontext, null_instruction=INSTRUCTION).reconstruct(picture(), steps=3, size=SIZE, seed=1)
    edit = editor(kontext).edit(picture(), **ASKED)
    assert np.array_equal(found.image, edit.image) and found.cost.rows == 3


def test_what_cannot_work_is_refused_by_name(kontext):
    for inversion in ("rf", "euler", "flowedit", "sdedit"):
        with pytest.raises(IncompatibleError, match=f"`inversion` '{inversion}' takes prompts that describe pictures"):
            Editor("flux-kontext", inversion, model="nowhere/at-all")
    with pytest.raises(IncompatibleError, match=r"'instruct'.* needs reference-pictures, which `backbone` 'sd3.5'"):
        Editor("sd3.5", "instruct", model="nowhere/at-all")
    with pytest.raises(IncompatibleError, match="`backbone` 'flux-kontext' is made for instructions"):
        configure("study", "flux-kontext", "rf", model="dev")
    with pytest.raises(
        IncompatibleError, match=r"`source_prompt` 'a cat' would have no effect: `inversion` 'instruct'"
    ):
        editor(kontext).edit(picture(), source_prompt="a cat", **ASKED)
    with pytest.raises(
        InvalidInputError, match=r"`size` 1024x768 is too large .* 294912 pixels at most. Work at 592x440"
    ):
        editor(kontext).edit(picture(), **{**ASKED, "size": (1024, 768)})
    with pytest.raises(
        IncompatibleError, match=r"no source\. Give `inversion\.null_instruction`, .*, use `method\.gamma=0`"
    ):
        editor(kontext, HeadRouter(), null_instruction=None).edit(picture(), **ASKED)
    with pytest.raises(IncompatibleError, match="inverts nothing"):
        editor(kontext).invert(picture())


def test_a_saved_edit_runs_again_and_so_does_the_command_line(tmp_path):
    tiny_kontext().save_pretrained(tmp_path / "model")
    picture().save(tmp_path / "cat.png")
    words = ["--backbone", "flux-kontext", "--model", str(tmp_path / "model"), "--prompt", INSTRUCTION, "--steps", "2"]
    more = ["--size", "48x32", "--set", "backbone.max_sequence_length=24", "--no-progress", "-o", str(tmp_path / "out")]
    assert main(["edit", str(tmp_path / "cat.png"), *words, *more]) == 0
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["inversion"]["name"] == "instruct" and record["inversion"]["null_instruction"] == ""
    assert [one["name"] for one in record["methods"]] == ["none"]
    again = replay(tmp_path / "out", progress=False)
    with Image.open(tmp_path / "out" / "edit-0.png") as first:
        assert np.array_equal(again.image, first)


def test_a_model_that_reads_the_picture_with_its_prompts():
    """Prompts of pictures that run together belong to each of them, and a new picture has none to be read with."""
    backbone = EditParameters(max_sequence_length=40).load("tiny", tiny_qwen_image_edit())
    with pytest.raises(IncompatibleError, match="reads each prompt together with a picture, and draws none without"):
        editor(backbone).generate("a cat", steps=2, size=SIZE)
    asked = {**ASKED, "guidance": 3.0, "negative_prompt": "blue"}
    together = editor(backbone, HeadRouter()).edit_together([picture(0), picture(1)], **asked)
    for seed, found in enumerate(together):
        alone = editor(backbone, HeadRouter()).edit(picture(seed), **asked)
        assert np.abs(pixels(found.image) - pixels(alone.image)).max() <= 1
    first, second = (found.prompts[0] for found in together)
    assert first.find("cat") == second.find("cat") and first.positions[0] > 5
    assert not torch.equal(first.tensors["prompt_embeds"], second.tensors["prompt_embeds"])


@pytest.fixture(scope="module")
def klein():
    return KleinParameters(max_sequence_length=64).load("tiny", tiny_klein(distilled=True))


def test_further_references_are_given_after_the_picture_and_are_on_record(klein, tmp_path):
    """Of sizes of their own; what the stock pipeline makes of the list of pictures; other pictures, another edit and hash."""
    others = [picture(1, (32, 48)), picture(2, (40, 40))]
    asked = {"prompt": INSTRUCTION, "steps": 2, "size": SIZE, "seed": 1}
    found = Editor(klein, "instruct", None, progress=False).edit(picture(), references=others, **asked)
    [stock] = klein.pipeline(
        image=[picture(), *others],
        prompt=INSTRUCTION,
        width=SIZE[0],
        height=SIZE[1],
        num_inference_steps=2,
        guidance_scale=1.0,
        max_sequence_length=64,
        generator=torch.Generator().manual_seed(1),
    ).images
    assert np.abs(pixels(found.image) - pixels(stock)).max() <= 1
    alone, turned = (
        Editor(klein, "instruct", None, progress=False).edit(picture(), references=given, **asked)
        for given in ([], others[::-1])
    )
    assert len({one.record.hash for one in (found, alone, turned)}) == 3
    assert not np.array_equal(found.image, alone.image) and not np.array_equal(found.image, turned.image)
    assert "references" not in alone.record.plain()
    found.save(tmp_path)
    assert record_from(json.loads((tmp_path / "result.json").read_text())).hash == found.record.hash
    with Image.open(tmp_path / "reference-2.png") as kept:
        assert np.array_equal(kept, others[1])


def test_an_edit_with_references_runs_again(tmp_path):
    tiny_klein(distilled=True).save_pretrained(tmp_path / "model")
    for name, one in (("cat", picture()), ("dog", picture(1))):
        one.save(tmp_path / f"{name}.png")
    words = ["--backbone", "klein", "--model", str(tmp_path / "model"), "--inversion", "instruct", "--method", "grag"]
    more = [
        "--reference",
        str(tmp_path / "dog.png"),
        "--prompt",
        "x",
        "--steps",
        "1",
        "--size",
        "48x32",
        "--no-progress",
    ]
    assert main(["edit", str(tmp_path / "cat.png"), *words, *more, "-o", str(tmp_path / "out")]) == 0
    again = replay(tmp_path / "out", progress=False)
    with Image.open(tmp_path / "out" / "edit-0.png") as first:
        assert np.array_equal(again.image, first)
    picture(2).save(tmp_path / "out" / "reference-1.png")
    with pytest.raises(InvalidInputError, match=r"reference-1.png' is not the picture that was edited"):
        replay(tmp_path / "out", progress=False)


def test_references_that_cannot_be_given_are_refused_by_name(klein, kontext):
    edit = Editor(klein, "instruct", None, progress=False).edit
    with pytest.raises(
        InvalidInputError, match=r"`references` must be 0 at most: flux-kontext .* takes 1 reference picture, the"
    ):
        editor(kontext).edit(picture(), references=[picture(1)], **ASKED)
    with pytest.raises(InvalidInputError, match=r"`references` must be 3 at most: flux2-klein .* and there are 4 more"):
        edit(picture(), references=[picture(1)] * 4, **ASKED)
    with pytest.raises(
        InvalidInputError, match=r"picture 2 is 2000x1000, .* takes 1179648 pixels at most\. Resize it to 1448x728"
    ):
        edit(picture(), references=[picture(1), Image.new("RGB", (2000, 1000))], **ASKED)
    with pytest.raises(InvalidInputError, match=r"`references`: picture 2: cannot read `image` 'absent\.png'"):
        edit(picture(), references=[picture(1), "absent.png"], **ASKED)
    with pytest.raises(InvalidInputError, match="must be a list of pictures"):
        edit(picture(), references="dog.png", **ASKED)
    with pytest.raises(
        IncompatibleError, match="`references` would have no effect: `inversion` 'sdedit' gives the model no pictures"
    ):
        Editor(klein, "sdedit", None, progress=False).edit(picture(), references=[picture(1)], **ASKED)
