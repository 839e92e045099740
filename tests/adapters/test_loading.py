"""Pipelines loaded from folders, and folders that cannot be loaded."""

import json
import re
import shutil
from unittest.mock import MagicMock

import pytest
import torch
from headrouter_diffusers.components import weights
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file

from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError, WeightsError

from .conftest import noise, rows_of


@pytest.mark.parametrize(("name", "parameters"), [("flux", FluxParameters), ("sd3", SD3Parameters)])
def test_a_folder_gives_the_same_velocity_as_the_pipeline(saved, name, parameters):
    given = parameters().load("tiny", tiny_flux() if name == "flux" else tiny_sd3())
    loaded = parameters(device="cpu").load(str(saved / name))
    rows, latents = rows_of(given, "a cat"), noise(given)
    velocity = loaded.velocity(latents, 0.7, rows_of(loaded, "a cat"))
    torch.testing.assert_close(velocity, given.velocity(latents, 0.7, rows), rtol=1e-4, atol=1e-5)
    modules = [part for part in loaded.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert not any(module.training for part in modules for module in part.modules())
    assert not any(weight.requires_grad for part in modules for weight in part.parameters())
    assert loaded.provides >= {"prompt-words"}


def test_precision(saved):
    backbone = SD3Parameters(device="cpu", dtype="bfloat16").load(str(saved / "sd3"))
    assert backbone.pipeline.transformer.dtype == torch.bfloat16
    assert backbone.pipeline.text_encoder_3.dtype == torch.bfloat16
    assert backbone.pipeline.vae.dtype == torch.float32
    velocity = backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))
    assert velocity.dtype == torch.float32
    assert velocity.isfinite().all()
    assert backbone.decode(backbone.encode_image(torch.zeros(1, 3, 32, 48))).shape == (1, 3, 32, 48)


def test_loading_is_quiet(saved, capfd):
    FluxParameters().load(str(saved / "flux"))
    assert capfd.readouterr() == ("", "")


def test_without_t5(saved):
    backbone = SD3Parameters(t5=False, max_sequence_length=16).load(str(saved / "sd3"))
    assert backbone.pipeline.text_encoder_3 is None
    assert backbone.pipeline.tokenizer_3 is None
    [prompt] = backbone.encode_prompts(["a cat"])
    assert prompt.tensors["prompt_embeds"].shape == (1, 77 + 16, 32)


def refused(source, match, error=WeightsError, parameters=None):
    with pytest.raises(HeadRouterError, match=match) as caught:
        (parameters or SD3Parameters(device="cpu")).load(str(source))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_no_such_folder(tmp_path):
    refused(tmp_path / "nothing", "neither a folder here nor a hub id")
    refused("./nothing", "neither a folder here nor a hub id")
    refused("nothing", "neither a folder here nor a hub id")


def test_a_file(broken):
    refused(broken / "model_index.json", r"is a file, which must end in \.safetensors or \.gguf")


def test_a_hub_id_out_of_reach(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("nobody/nothing-of-this-name", "`hf auth login`, or give the path of a local folder")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (GatedRepoError("gated", response=MagicMock()), "is gated. Accept its licence"),
        (RepositoryNotFoundError("none", response=MagicMock()), "was not found on the hub. Check the name"),
        (RemoteEntryNotFoundError("none", response=MagicMock()), "has no model_index.json"),
        (TimeoutError("slow"), "could not be fetched"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_hub_answers(monkeypatch, error, advice):
    def fail(*_):
        raise error

    monkeypatch.setattr(weights, "hf_hub_download", fail)
    refused("owner/name", re.escape(advice))


def test_pickled_weights_on_the_hub(monkeypatch, saved):
    def fail(*_, **arguments):
        assert arguments["use_safetensors"] is True
        raise OSError("Could not find the necessary `safetensors` weights in {'x.bin'} (variant=None)")

    monkeypatch.setattr(weights, "hf_hub_download", lambda *_: str(saved / "sd3" / "model_index.json"))
    monkeypatch.setattr(weights.DiffusionPipeline, "download", fail)
    refused("owner/name", "has no plain weights in safetensors.*pickled weights are refused")


def test_a_hub_id_is_fetched_without_what_is_left_out(monkeypatch, saved):
    asked = {}

    def download(source, **arguments):
        asked.update(arguments, source=source)
        return str(saved / "sd3")

    monkeypatch.setattr(weights, "hf_hub_download", lambda *_: str(saved / "sd3" / "model_index.json"))
    monkeypatch.setattr(weights.DiffusionPipeline, "download", download)
    SD3Parameters(device="cpu", t5=False).load("owner/name")
    out = ("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor")
    assert asked == {"source": "owner/name", "use_safetensors": True, **dict.fromkeys(out)}


def test_a_folder_without_index(broken):
    (broken / "model_index.json").unlink()
    refused(broken, r"has no model_index\.json")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_index(broken, content):
    (broken / "model_index.json").write_text(content)
    refused(broken, r"model_index\.json (is damaged|does not describe)")


def test_another_class(saved, broken):
    refused(
        saved / "flux", r"is a FluxPipeline, which backbone 'sd3' cannot drive\. Use backbone 'flux'", IncompatibleError
    )
    refused(saved / "sd3", r"Use backbone 'sd3\.5'", IncompatibleError, FluxParameters())
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "OtherPipeline"}))
    refused(broken, r"OtherPipeline.*'sd3' drives StableDiffusion3Pipeline", IncompatibleError)


@pytest.mark.parametrize("component", ["transformer", "text_encoder_3"])
def test_pickled_weights_are_refused(broken, component):
    for file in (broken / component).glob("*.safetensors"):
        file.unlink()
    (broken / component / "pytorch_model.bin").write_bytes(b"never read")
    refused(broken, rf"pickled weights only, {component}/pytorch_model\.bin")


def test_pickled_weights_beside_safetensors_are_not_read(broken):
    kept = load_file(broken / "transformer" / "diffusion_pytorch_model.safetensors")
    pickled = {name: torch.zeros_like(weight) for name, weight in kept.items()}
    torch.save(pickled, broken / "transformer" / "diffusion_pytorch_model.bin")
    loaded = SD3Parameters(device="cpu").load(str(broken)).pipeline.transformer.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in kept.items())
    assert any(weight.any() for weight in kept.values())


@pytest.mark.parametrize("size", [0, 4, 1000])
def test_truncated_weights_are_named(broken, size):
    file = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    refused(broken, r"transformer/diffusion_pytorch_model\.safetensors is damaged or incomplete")


def test_a_missing_component(broken):
    shutil.rmtree(broken / "vae")
    refused(broken, "lacks its 'vae'")


def test_missing_weights(broken):
    (broken / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    refused(broken, "could not be loaded")


def test_weights_of_another_shape(broken):
    file = broken / "transformer" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_attention_heads": 2}))
    refused(broken, r"weights of another shape than its configuration makes: '.*' of its 'transformer' is \[")


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloading_needs_an_accelerator(saved, offload):
    refused(saved / "sd3", r"`offload`.*CPU", InvalidInputError, SD3Parameters(device="cpu", offload=offload))


@pytest.mark.parametrize(
    "device", ["nonsense", "cuda:99", "meta", "opengl", "hip", "vulkan", "privateuseone", "hpu", "", ":"]
)
def test_a_device_that_is_not_here(saved, device):
    refused(saved / "sd3", f"`device` '{device}' cannot be used here", InvalidInputError, SD3Parameters(device=device))
