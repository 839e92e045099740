"""The bundled pipelines: ordinary folders, small, quick to load, and trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxPipeline, StableDiffusion3Pipeline
from headrouter_shapes import model_path
from headrouter_shapes.bench.instructions import evaluate_instructions
from headrouter_shapes.confusion import round_trip
from headrouter_shapes.evaluate import accuracy, evaluation_scenes
from headrouter_shapes.pipelines.build import BACKBONES, INSTRUCTED
from headrouter_shapes.pipelines.folder import load_pipeline
from headrouter_shapes.pipelines.sampling import decode_latents, encode_pictures, integrate, starting_noise
from headrouter_shapes.weights import BUNDLED
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.oracle import read
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import render, render_array
from headrouter_shapes.world.scene import Scene
from PIL import Image
from safetensors import safe_open

from headrouter import Editor
from headrouter.cli import main
from headrouter.imaging.picture import psnr

ROOT = Path(model_path.__code__.co_filename).parent / "weights"
NAMES = [name for name in BACKBONES if (ROOT / name / "model_index.json").is_file()]
bundled = pytest.mark.parametrize("name", NAMES)
"""Those of captions."""


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_all_four_are_bundled_and_small_together() -> None:
    assert {folder.name for folder in ROOT.iterdir()} == {*NAMES, INSTRUCTED} == {*BUNDLED}
    assert _size(ROOT) <= 76_000_000


@pytest.mark.parametrize("name", BUNDLED)
def test_a_folder_is_small_and_in_bfloat16(name: str) -> None:
    folder = model_path(name)
    assert _size(folder) <= 24_000_000
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            kinds = {weights.get_tensor(key).dtype for key in weights.keys()}  # noqa: SIM118
        assert kinds == {torch.bfloat16}, file


@bundled
def test_the_architecture_is_the_one_it_stands_for(name: str) -> None:
    folder = model_path(name)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    assert config["num_attention_heads"] >= 6
    assert config["num_layers"] + config.get("num_single_layers", 0) >= 6
    if name == "flux":
        assert config["_class_name"] == "FluxTransformer2DModel"
        assert config["num_layers"] > 0 < config["num_single_layers"]
    else:
        assert config["_class_name"] == "SD3Transformer2DModel"
        assert bool(config["dual_attention_layers"]) == (name == "sd3.5")
        assert config["qk_norm"] == ("rms_norm" if name == "sd3.5" else None)
    assert json.loads((folder / "vae" / "config.json").read_text())["latent_channels"] == 16


SCENES = (
    Scene("heart", "red", "checkered", "pink", position="left", number="two", style="sketched"),
    Scene("star", "blue", "striped", "mint", size="small", position="top", number="three"),
    Scene("square", "green", "dotted", "white", style="outlined"),
    Scene("circle", "purple", "plain", "gray", position="right"),
)


@bundled
def test_the_stock_pipeline_draws_what_the_prompt_says(name: str) -> None:
    """Plain diffusers, no code of this package between the prompts and the pictures."""
    pipeline = DiffusionPipeline.from_pretrained(model_path(name), dtype=torch.float32, local_files_only=True)
    assert isinstance(pipeline, FluxPipeline if name == "flux" else StableDiffusion3Pipeline)
    pipeline.set_progress_bar_config(disable=True)
    flux = {"true_cfg_scale": 3.0, "negative_prompt": [""] * len(SCENES)}
    pictures = pipeline(
        [caption(scene) for scene in SCENES],
        height=64,
        width=64,
        num_inference_steps=20,
        max_sequence_length=pipeline.tokenizer.model_max_length,
        generator=[torch.Generator().manual_seed(number) for number in range(len(SCENES))],
        **(flux if name == "flux" else {"guidance_scale": 3.0}),
    ).images
    readings = read(np.stack([np.asarray(picture) for picture in pictures]))
    right = [
        sum(reading.attributes[semantic] == value for semantic, value in scene.attributes.items())
        for scene, reading in zip(SCENES, readings, strict=True)
    ]
    assert sum(right) >= 28, f"of the 32 semantics of four prompts {right} are right"


@bundled
def test_held_out_captions_are_drawn_and_pictures_reconstructed(name: str) -> None:
    pipeline = load_pipeline(model_path(name))
    scenes, captions = evaluation_scenes(8, seed=7)
    truth = render_array(scenes)
    latents = encode_pictures(pipeline, to_tensor(truth))
    noise = integrate(pipeline, latents, captions, invert=True)
    again = to_pictures(decode_latents(pipeline, integrate(pipeline, noise, captions)))
    assert np.mean([psnr(*pair) for pair in zip(truth, again, strict=True)]) > RECONSTRUCTION[name]
    made = to_pictures(decode_latents(pipeline, integrate(pipeline, starting_noise(7, 8), captions, guidance=3.0)))
    right = accuracy(scenes, read(made))
    assert np.mean([share for semantic, share in right.items() if semantic != "all eight"]) > DRAWN[name]
    others = scenes[1:] + scenes[:1]
    assert np.mean(list(accuracy(others, read(made)).values())) < 0.6


RECONSTRUCTION = {"flux": 31.5, "sd3": 32.5, "sd3.5": 31.0}
DRAWN = {"flux": 0.95, "sd3": 0.93, "sd3.5": 0.95}
"""Decibels and mean share of right semantics, a little below what these eight pictures have."""


@bundled
def test_the_oracle_reads_round_trips_without_a_mistake(name: str) -> None:
    pipeline = load_pipeline(model_path(name))
    scenes, _ = evaluation_scenes(40, seed=31)
    drawn = render_array(scenes)
    pictures = round_trip(pipeline.vae, drawn)
    assert np.mean([psnr(*pair) for pair in zip(drawn, pictures, strict=True)]) > 34
    assert [reading.attributes for reading in read(pictures)] == [scene.attributes for scene in scenes]


def test_the_instructed_model_does_what_it_is_asked_and_keeps_the_rest() -> None:
    found = evaluate_instructions(model_path(INSTRUCTED), count=8, steps=10, guidance=2.0)["all kinds"]
    assert found["success"] >= 0.75 and found["preservation, dB"] > 30


def test_an_instruction_from_python_and_from_the_command_line_is_the_same_edit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene("star", "blue", "plain", "mint", variation=7)
    render(scene).save(tmp_path / "star.png")
    words = "make the star red"
    editor = Editor(INSTRUCTED, method=None, model="shapes", progress=False)
    result = editor.edit(tmp_path / "star.png", words, steps=8)
    [reading] = read(np.asarray(result.image)[None])
    assert reading.attributes == {**scene.attributes, "colour": "red"}
    asked = ["edit", str(tmp_path / "star.png"), "--prompt", words, "--backbone", INSTRUCTED, "--model", "shapes"]
    assert main([*asked, "--steps", "8", "--method", "none", "-o", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    with Image.open(tmp_path / "out" / "edit-0.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(result.image))
