"""Editors that are pipelines of diffusers: small random ones of the real classes, called as their documentation says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit
from headrouter_editors.flux_kontext import FluxKontext
from headrouter_editors.instruct_pix2pix import InstructPix2Pix
from headrouter_editors.leditspp import LeditsPP
from headrouter_editors.pipelines import PipelineEditor, SafetyError
from headrouter_editors.qwen_image_edit import QwenImageEdit
from headrouter_flux_kontext.testing import tiny_kontext
from headrouter_qwen_image_edit.testing import tiny_qwen_image_edit
from PIL import Image

from editors import tiny
from headrouter.editing.assembly import part_class
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.other_editor import EditRequest

PICTURE = Image.fromarray((np.random.default_rng(0).random((72, 64, 3)) * 255).astype(np.uint8))
HOST = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of diffusers


def asked(seed: int = 1, instruction: str = "make the cat red") -> EditRequest:
    return EditRequest(PICTURE, "a cat", "a red cat", instruction, seed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    made = {"instruct-pix2pix": tiny.instruct_pix2pix, "leditspp": tiny.stable_diffusion, "flux-kontext": tiny_kontext}
    return {name: tiny.folder(build(), root / name) for name, build in made.items()}


EDITORS: dict[str, Any] = {
    "instruct-pix2pix": lambda folder, **values: InstructPix2Pix(model=str(folder), steps=3, area=64 * 64, **values),
    "leditspp": lambda folder, **values: LeditsPP(model=str(folder), steps=4, area=64 * 64, **values),
    "flux-kontext": lambda folder, **values: FluxKontext(model=str(folder), steps=2, area=64 * 64, **values),
}


@pytest.mark.parametrize("name", EDITORS)
def test_an_editor_edits_in_the_size_of_the_picture_by_the_seed(name: str, folders: dict[str, Path]) -> None:
    editor: PipelineEditor = EDITORS[name](folders[name])
    assert isinstance(editor, part_class("editor", name))
    edit = editor.load(HOST)
    first, again, other = (edit(asked(seed)) for seed in (1, 1, 2))
    assert first.size == PICTURE.size and first.mode == "RGB"
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_instruct_pix2pix_is_the_pipeline_itself(folders: dict[str, Path]) -> None:
    """At a size that needs no resizing, the picture is that of the pipeline called by hand."""
    picture = PICTURE.resize((64, 64))
    request = EditRequest(picture, "", "", "make it red", 3)
    edit = InstructPix2Pix(model=str(folders["instruct-pix2pix"]), steps=3, area=64 * 64).load(HOST)(request)
    pipeline = tiny.instruct_pix2pix()
    direct = pipeline(
        "make it red",
        picture,
        num_inference_steps=3,
        guidance_scale=7.5,
        image_guidance_scale=1.5,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    assert np.array_equal(edit, direct)


def test_ledits_leads_away_from_the_source_if_asked(folders: dict[str, Path]) -> None:
    plain, away = (EDITORS["leditspp"](folders["leditspp"], remove_source=word) for word in (False, True))
    assert plain.needs == frozenset() and away.needs == {"source_prompt"}
    assert not np.array_equal(plain.load(HOST)(asked()), away.load(HOST)(asked()))


def test_qwen_image_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pipeline_qwenimage_edit.calculate_dimensions
    monkeypatch.setattr(pipeline_qwenimage_edit, "calculate_dimensions", lambda _, ratio: whole(64 * 64, ratio))
    pipeline, editor = tiny_qwen_image_edit(), QwenImageEdit(steps=2)
    noise = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    first, again, other = (editor.run(pipeline, PICTURE, asked(), one).images[0] for one in noise)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(InvalidInputError, match="works by the `instruction`, and the edit has none"):
        editor.run(pipeline, PICTURE, asked(instruction=""), noise[0])


def test_weights_that_are_not_here_are_refused_before_anything_runs(folders: dict[str, Path]) -> None:
    for editor, said in (
        (InstructPix2Pix(model="nobody/nothing"), "is absent: `hf download nobody/nothing`"),
        (
            InstructPix2Pix(model=str(folders["leditspp"])),
            "holds a StableDiffusionPipeline, and this editor runs a Stable",
        ),
        (LeditsPP(model=str(folders["flux-kontext"])), "holds a FluxKontextPipeline"),
    ):
        with pytest.raises(HeadRouterError, match=said):
            editor.check()


def test_the_revision_is_of_the_weights(folders: dict[str, Path]) -> None:
    revisions = {InstructPix2Pix(model=str(folder)).revision for folder in folders.values()}
    assert len(revisions) == 3 and InstructPix2Pix().revision == "timbrooks/instruct-pix2pix"


def test_a_picture_that_the_safety_checker_withheld_is_no_result(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Withheld:
        images, nsfw_content_detected = (Image.new("RGB", (64, 64)),), [True]

    monkeypatch.setattr(InstructPix2Pix, "run", lambda *_: Withheld())
    with pytest.raises(SafetyError, match="withheld"):
        EDITORS["instruct-pix2pix"](folders["instruct-pix2pix"]).load(HOST)(asked())
