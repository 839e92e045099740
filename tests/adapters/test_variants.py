"""Variants of weights, in folders and on the hub."""

import re
import shutil

import pytest
import torch
from headrouter_diffusers.components import weights
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from huggingface_hub.errors import OfflineModeIsEnabled
from PIL import Image

from headrouter import Editor, replay
from headrouter.cli import main
from headrouter.errors import InvalidInputError, WeightsError
from headrouter.models.weights import find_weights

from .conftest import noise, rows_of


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A folder with fp16 weights only, one with these beside plain ones that differ, and one with sharded ones."""
    folder = tmp_path_factory.mktemp("variants")
    half = tiny_sd3().to(torch.float16)
    half.save_pretrained(folder / "only", variant="fp16")
    tiny_sd3(seed=1).save_pretrained(folder / "both")
    half.save_pretrained(folder / "both", variant="fp16")
    half.save_pretrained(folder / "sharded", variant="fp16", max_shard_size="100KB")
    return folder


def velocity(backbone):
    return backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))


@pytest.mark.parametrize("name", ["only", "both", "sharded"])
def test_a_variant_of_a_folder(folders, name):
    loaded = SD3Parameters(device="cpu", variant="fp16").load(str(folders / name))
    expected = SD3Parameters().load("tiny", tiny_sd3().to(torch.float16).to(torch.float32))
    torch.testing.assert_close(velocity(loaded), velocity(expected), rtol=1e-4, atol=1e-5)


def test_plain_weights_beside_a_variant(folders):
    loaded, expected = (
        SD3Parameters(device="cpu").load(str(folders / "both")),
        SD3Parameters().load("t", tiny_sd3(seed=1)),
    )
    torch.testing.assert_close(velocity(loaded), velocity(expected), rtol=1e-4, atol=1e-5)


def test_a_component_without_the_variant_loads_its_plain_weights(folders, tmp_path):
    mixed = shutil.copytree(folders / "only", tmp_path / "mixed")
    shutil.rmtree(mixed / "vae")
    shutil.copytree(folders / "both" / "vae", mixed / "vae", ignore=shutil.ignore_patterns("*fp16*"))
    loaded = SD3Parameters(device="cpu", variant="fp16").load(str(mixed))
    weight = loaded.pipeline.vae.encoder.conv_in.weight
    assert torch.equal(weight, tiny_sd3(seed=1).vae.encoder.conv_in.weight)


@pytest.mark.parametrize("name", ["only", "sharded"])
def test_a_folder_with_a_variant_only_says_so(folders, name):
    with pytest.raises(WeightsError, match=r"as variant 'fp16' only.*Ask for it by `variant='fp16'`"):
        SD3Parameters(device="cpu").load(str(folders / name))


@pytest.mark.parametrize("asked", ["bf16", "fp", "fp16-00001"])
def test_a_variant_that_is_not_there(folders, asked):
    with pytest.raises(WeightsError, match=rf"`variant` '{asked}' is not among .*: it has variant 'fp16'"):
        SD3Parameters(device="cpu", variant=asked).load(str(folders / "both"))


def test_a_variant_of_plain_weights(tmp_path):
    tiny_flux().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="it has plain weights only; leave `variant` out"):
        FluxParameters(device="cpu", variant="fp16").load(str(tmp_path))


def test_a_file_without_suffix_among_the_weights(folders, tmp_path):
    odd = shutil.copytree(folders / "both", tmp_path / "odd")
    (odd / "transformer" / "LICENSE").touch()
    SD3Parameters(device="cpu").load(str(odd))
    SD3Parameters(device="cpu", variant="fp16").load(str(odd))


def on_the_hub(monkeypatch, folder, *, variant_only):
    """A repository that holds what a folder does."""
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    asked = {}

    def download(source, **arguments):
        asked.update(arguments)
        if variant_only and "variant" not in arguments:
            raise OSError(f"Could not find the necessary `safetensors` weights in {files} (variant=None)")
        return str(folder)

    monkeypatch.setattr(weights, "hf_hub_download", lambda *_: str(folder / "model_index.json"))
    monkeypatch.setattr(weights.DiffusionPipeline, "download", download)
    monkeypatch.setattr(weights, "list_repo_files", lambda _: files)
    return asked


def test_a_variant_on_the_hub(monkeypatch, folders):
    asked = on_the_hub(monkeypatch, folders / "only", variant_only=True)
    SD3Parameters(device="cpu", variant="fp16").load("owner/name")
    assert asked["variant"] == "fp16"
    with pytest.raises(WeightsError, match=r"'owner/name' has the weights of its .* as variant 'fp16' only"):
        SD3Parameters(device="cpu").load("owner/name")


def test_a_hub_that_does_not_list_its_files(monkeypatch, folders):
    on_the_hub(monkeypatch, folders / "only", variant_only=True)

    def offline(_):
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr(weights, "list_repo_files", offline)
    with pytest.raises(WeightsError, match="has no plain weights in safetensors"):
        SD3Parameters(device="cpu").load("owner/name")


def test_an_edit_is_recorded_with_its_variant(folders, tmp_path):
    Image.new("RGB", (48, 32), "teal").save(tmp_path / "photo.png")
    common = ["edit", str(tmp_path / "photo.png"), "--prompt", "a dog", "--backbone", "sd3", "--steps", "2"]
    common += ["--model", str(folders / "both"), "--device", "cpu", "--no-progress", "--size", "48x32"]
    for out, how in (("a", ["--variant", "fp16"]), ("b", ["--set", "backbone.variant=fp16"]), ("plain", [])):
        assert main([*common, *how, "-o", str(tmp_path / out)]) == 0
    pixels = [Image.open(tmp_path / out / "edit-0.png").tobytes() for out in ("a", "b", "plain")]
    assert pixels[0] == pixels[1] != pixels[2]
    again = replay(tmp_path / "a", progress=False)
    assert again.record.backbone.parameters["variant"] == "fp16"
    assert again.image.tobytes() == pixels[0]
    with pytest.raises(WeightsError, match="holds other weights"):
        replay(tmp_path / "plain", progress=False, variant="fp16")


def test_parameters_that_a_backbone_does_not_have(monkeypatch):
    with pytest.raises(InvalidInputError, match="`variant`"):
        Editor(SD3Parameters(), pipeline=tiny_sd3(), variant="fp16")
    loaded = SD3Parameters().load("tiny", tiny_sd3())
    with pytest.raises(InvalidInputError, match=r"already loaded, so that `variant`, `quantize` would have no effect"):
        Editor(loaded, variant="fp16", quantize="nf4")
    with pytest.raises(InvalidInputError, match=re.escape("`variant`: String should match pattern")):
        Editor("sd3", variant="../fp16", pipeline=tiny_sd3())


def test_the_doctor_knows_shards_of_variants(folders, tmp_path):
    assert find_weights(str(folders / "only")).remark.endswith("(variant fp16)")
    assert find_weights(str(folders / "sharded")).state == "folder"
    cut = shutil.copytree(folders / "sharded", tmp_path / "cut")
    shard = min((cut / "transformer").glob("*-of-*.safetensors"))
    shard.unlink()
    found = find_weights(str(cut))
    assert found.state == "incomplete"
    assert shard.name in found.remark
