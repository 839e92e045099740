"""Pipelines from one file: a transformer, or a whole pipeline, with the rest from a base."""

import re
import shutil

import pytest
import torch
from diffusers import SD3Transformer2DModel
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from headrouter_diffusers import testing
from headrouter_diffusers.components import single_file, weights
from headrouter_diffusers.testing import tiny_flux, tiny_sd3, tiny_sd35
from headrouter_flux import RELEASED as FLUX
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3 import RELEASED as SD3
from headrouter_sd3.parameters import SD3Parameters, SD35Parameters
from PIL import Image
from safetensors.torch import save_file

from headrouter import Editor, replay
from headrouter.cli import main
from headrouter.errors import (
    HeadRouterError,
    IncompatibleError,
    InvalidInputError,
    OutOfMemoryError,
    WeightsError,
)

from .conftest import noise, rows_of
from .original import original_autoencoder, original_sd3

PIPELINES = {"flux": tiny_flux, "sd3": tiny_sd3, "sd3.5": tiny_sd35}
PARAMETERS = {"flux": FluxParameters, "sd3": SD3Parameters, "sd3.5": SD35Parameters}


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """Folders of tiny pipelines, whose transformers have other weights than those of the files."""
    folder = tmp_path_factory.mktemp("bases")
    for name, build in PIPELINES.items():
        build(seed=1).save_pretrained(folder / name)
    return folder


def with_transformer(name, seed=0):
    """The pipeline that results of a file and a base."""
    pipeline = PIPELINES[name](seed=1)
    pipeline.transformer.load_state_dict(PIPELINES[name](seed=seed).transformer.state_dict())
    return pipeline


def velocity(backbone):
    return backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))


def write_gguf(state, path, kinds):
    """``kinds`` says how a matrix whose rows hold whole blocks of the format is quantised; all else stays float32."""
    writer = GGUFWriter(path, "diffusion")
    for name, value in state.items():
        array = value.float().numpy()
        whole = value.ndim == 2 and value.shape[1] % 32 == 0
        if whole and kinds is not None:
            writer.add_tensor(name, quantize(array, kinds), raw_dtype=kinds)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("name", PIPELINES)
def test_a_transformer_as_diffusers_saves_it(bases, tmp_path, name):
    file = tmp_path / "transformer.safetensors"
    save_file(PIPELINES[name](seed=0).transformer.state_dict(), file)
    loaded = PARAMETERS[name](device="cpu", base=str(bases / name)).load(str(file))
    expected = PARAMETERS[name]().load("tiny", with_transformer(name))
    torch.testing.assert_close(velocity(loaded), velocity(expected), rtol=1e-4, atol=1e-5)
    modules = [part for part in loaded.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert not any(part.training or weight.requires_grad for part in modules for weight in part.parameters())


@pytest.mark.parametrize("name", ["sd3", "sd3.5"])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_transformer_as_its_makers_publish_it(bases, tmp_path, name, prefix):
    file = tmp_path / "sd.safetensors"
    save_file(original_sd3(PIPELINES[name](seed=0).transformer.state_dict(), 3, prefix), file)
    loaded = PARAMETERS[name](device="cpu", base=str(bases / name)).load(str(file))
    expected = PARAMETERS[name]().load("tiny", with_transformer(name))
    torch.testing.assert_close(velocity(loaded), velocity(expected), rtol=1e-4, atol=1e-5)


def whole(monkeypatch):
    """An SD3 pipeline whose two CLIP differ in width, by which diffusers tells them apart."""
    plain = testing._clip_config
    widths = {"quick_gelu": 16, "gelu": 24}

    def config(hidden_act="quick_gelu"):
        found = plain(hidden_act)
        found.hidden_size = found.projection_dim = widths[hidden_act]
        return found

    monkeypatch.setattr(testing, "_clip_config", config)
    monkeypatch.setattr(testing, "_T5_WIDTH", 48)
    return lambda seed: tiny_sd3(seed=seed, pooled_projection_dim=40, joint_attention_dim=48)


@pytest.mark.parametrize("t5", [True, False], ids=["with T5", "T5 from the base"])
def test_a_whole_pipeline(monkeypatch, tmp_path, t5):
    build = whole(monkeypatch)
    build(1).save_pretrained(tmp_path / "base")
    given = build(0)
    content = original_sd3(given.transformer.state_dict(), 3)
    content |= original_autoencoder(given.vae.state_dict(), 3)
    encoders = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", **({"text_encoder_3": "t5xxl"} if t5 else {})}
    for part, label in encoders.items():
        state = getattr(given, part).state_dict()
        content |= {f"text_encoders.{label}.transformer.{name}": value.clone() for name, value in state.items()}
    if not t5:
        given.text_encoder_3.load_state_dict(build(1).text_encoder_3.state_dict())
    given.text_encoder.text_projection.weight.data = torch.eye(16)  # which the format has no room for
    save_file(content, tmp_path / "whole.safetensors")
    loaded = SD3Parameters(device="cpu", base=str(tmp_path / "base")).load(str(tmp_path / "whole.safetensors"))
    expected = SD3Parameters().load("tiny", given)
    torch.testing.assert_close(velocity(loaded), velocity(expected), rtol=1e-4, atol=1e-5)
    picture = torch.linspace(-1, 1, 3 * 32 * 48).reshape(1, 3, 32, 48)
    torch.testing.assert_close(loaded.encode_image(picture), expected.encode_image(picture), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [None, GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0], ids=str)
@pytest.mark.parametrize("name", ["flux", "sd3.5"])
def test_gguf(bases, tmp_path, name, kind):
    state = PIPELINES[name](seed=0).transformer.state_dict()
    content = original_sd3(state, 3, "") if name == "sd3.5" else state
    file = write_gguf(content, tmp_path / "small.gguf", kind)
    loaded = PARAMETERS[name](device="cpu", base=str(bases / name)).load(str(file))
    expected = velocity(PARAMETERS[name]().load("tiny", with_transformer(name)))
    error = float((velocity(loaded) - expected).norm() / expected.norm())
    assert error < {None: 1e-4, GGMLQuantizationType.Q8_0: 0.05, GGMLQuantizationType.Q4_0: 0.5}[kind]
    if kind is not None:
        assert error > 1e-4
        assert loaded.pipeline.transformer.transformer_blocks[0].attn.to_q.weight.quant_type == kind


def test_a_gguf_edit_is_steered_recorded_and_run_again(bases, tmp_path, capsys):
    file = write_gguf(tiny_flux().transformer.state_dict(), tmp_path / "flux.gguf", GGMLQuantizationType.Q8_0)
    Image.new("RGB", (48, 32), "teal").save(tmp_path / "photo.png")
    common = ["--prompt", "a dog", "--backbone", "flux", "--model", str(file), "--base", str(bases / "flux")]
    common += ["--steps", "2", "--size", "48x32", "--device", "cpu", "--no-progress"]
    for out, more in (("steered", []), ("plain", ["--method", "none"])):
        assert main(["edit", str(tmp_path / "photo.png"), *common, *more, "-o", str(tmp_path / out)]) == 0
    steered, plain = (Image.open(tmp_path / out / "edit-0.png").tobytes() for out in ("steered", "plain"))
    assert steered != plain
    again = replay(tmp_path / "steered", progress=False)
    assert again.image.tobytes() == steered
    assert again.record.backbone.parameters["base"] == str(bases / "flux")


def test_a_base_by_short_name(tmp_path):
    from headrouter_shapes.weights import model_path

    state = SD35Parameters(device="cpu").load(str(model_path("sd3.5"))).pipeline.transformer.state_dict()
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "own.safetensors")
    editor = Editor("sd3.5", model=str(tmp_path / "own.safetensors"), base="shapes", device="cpu", progress=False)
    assert editor.backbone.pipeline.transformer.state_dict().keys() == state.keys()


def refused(source, match, error=WeightsError, parameters=None):
    with pytest.raises(HeadRouterError, match=match) as caught:
        (parameters or SD3Parameters(device="cpu")).load(str(source))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.fixture
def file(tmp_path):
    save_file(tiny_sd3().transformer.state_dict(), tmp_path / "sd3.safetensors")
    return tmp_path / "sd3.safetensors"


def test_without_a_base_the_released_model_is_meant(monkeypatch, file):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    base = "stabilityai/stable-diffusion-3-medium-diffusers"
    refused(file, rf"is one file, and what it lacks comes from `base` '{base}': `base` '{base}' is not on this machine")


def layout(*names, width=1):
    return {name: torch.zeros(1, width) for name in names}


@pytest.mark.parametrize(
    ("backbone", "content", "base"),
    [
        ("flux", layout("double_blocks.0.img_attn.norm.key_norm.scale"), "black-forest-labs/FLUX.1-schnell"),
        (
            "flux",
            layout("double_blocks.0.img_attn.norm.key_norm.scale", "guidance_in.in_layer.bias", "img_in.weight"),
            "black-forest-labs/FLUX.1-dev",
        ),
        ("sd3.5", layout("joint_blocks.37.x_block.mlp.fc1.weight"), "stabilityai/stable-diffusion-3.5-large"),
        ("flux", layout("transformer_blocks.0.attn.to_q.weight"), "black-forest-labs/FLUX.1-dev"),
    ],
)
def test_which_released_model_a_file_belongs_to(backbone, content, base):
    released = {"flux": FLUX, **SD3}[backbone]
    assert single_file.base_of("x", content, None, released) == base
    assert single_file.base_of("x", content, "given/base", released) == "given/base"


def test_a_file_of_another_model():
    large = layout("joint_blocks.37.x_block.mlp.fc1.weight")
    with pytest.raises(
        IncompatibleError, match=r"looks like .*3\.5-large, and this backbone drives .*3-medium-diffusers"
    ):
        single_file.base_of("x", large, None, SD3["sd3"])
    other = layout("model.diffusion_model.single_stream_modulation.lin.weight")
    with pytest.raises(IncompatibleError, match=r"looks like .*FLUX\.2-dev, and this backbone drives .*FLUX\.1-dev"):
        single_file.base_of("x", other, None, FLUX)
    with pytest.raises(InvalidInputError, match="Name the pipeline that it belongs to by `base`"):
        single_file.base_of("x", layout("transformer_blocks.0.attn.to_q.weight"), None, ())


@pytest.mark.parametrize("name", ["x.ckpt", "x.pt", "x.txt"])
def test_files_of_other_kinds(tmp_path, name):
    (tmp_path / name).write_bytes(b"never read")
    refused(tmp_path / name, r"must end in \.safetensors or \.gguf")


@pytest.mark.parametrize("name", ["x.safetensors", "x.gguf"])
def test_a_damaged_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"GGUF nonsense")
    refused(tmp_path / name, "is damaged or incomplete")


@pytest.mark.parametrize(
    ("tensor", "match"),
    [
        ("transformer.blocks.0.lora_A.weight", "holds a LoRA"),
        ("model.diffusion_model.joint_blocks.0.scale_weight", "a format that diffusers does not read"),
        ("scaled_fp8", "a format that diffusers does not read"),
        ("double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4", "a format that diffusers does not read"),
    ],
)
def test_files_that_hold_something_else(tmp_path, bases, tensor, match):
    save_file({tensor: torch.zeros(1)}, tmp_path / "x.safetensors")
    refused(tmp_path / "x.safetensors", match, parameters=SD3Parameters(device="cpu", base=str(bases / "sd3")))


def incomplete(state):
    del state["proj_out.bias"]


def reshaped(state):
    state["proj_out.bias"] = torch.zeros(3)


def deeper(state):
    state |= {
        name.replace("blocks.2", "blocks.3"): value.clone() for name, value in state.items() if "blocks.2" in name
    }


@pytest.mark.parametrize("damage", [incomplete, reshaped, deeper, dict.clear])
@pytest.mark.parametrize("original", [False, True], ids=["diffusers", "original"])
def test_a_file_that_is_not_of_the_shape_of_its_base(tmp_path, bases, damage, original):
    state = tiny_sd3().transformer.state_dict()
    damage(state)
    if original and state:
        if damage is incomplete:
            state["proj_out.bias"] = torch.zeros(1)
        state = original_sd3(state, 4 if damage is deeper else 3, "")
        if damage is incomplete:
            del state["final_layer.linear.bias"]
    save_file(state or {"other": torch.zeros(1)}, tmp_path / "x.safetensors")
    parameters = SD3Parameters(device="cpu", base=str(bases / "sd3"))
    refused(tmp_path / "x.safetensors", "it holds no whole SD3Transformer2DModel of that shape", parameters=parameters)


def test_a_base_of_another_kind(bases, file):
    parameters = SD3Parameters(device="cpu", base=str(bases / "flux"))
    refused(file, "comes from `base` .* is a FluxPipeline", IncompatibleError, parameters)


def test_a_base_beside_a_whole_pipeline(bases):
    parameters = SD3Parameters(device="cpu", base=str(bases / "sd3"))
    refused(bases / "sd3", "`base` .* has no effect", InvalidInputError, parameters)


def test_gguf_is_quantised_already(bases, tmp_path):
    file = write_gguf(tiny_flux().transformer.state_dict(), tmp_path / "x.gguf", GGMLQuantizationType.Q8_0)
    base = {"device": "cpu", "base": str(bases / "flux")}
    refused(file, "is quantised already", InvalidInputError, FluxParameters(quantize="int8-torchao", **base))
    mixed = FluxParameters(quantize={"text_encoder_2": "int8-torchao"}, **base).load(str(file))
    assert type(mixed.pipeline.text_encoder_2.encoder.block[0].layer[0].SelfAttention.q.weight).__name__ == "Int8Tensor"


def test_gguf_without_its_package(monkeypatch, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(single_file, "find_spec", lambda name: None)
    refused(tmp_path / "x.gguf", re.escape("needs the package gguf to be read. Run `pip install gguf`."))


def test_configurations_of_a_base_on_the_hub(monkeypatch, bases, file, tmp_path):
    snapshot = shutil.copytree(bases / "sd3", tmp_path / "snapshot")
    shutil.rmtree(snapshot / "transformer")
    asked = []

    def download(source, name):
        asked.append((source, name))
        (snapshot / name).parent.mkdir(exist_ok=True)
        return shutil.copy(bases / "sd3" / name, snapshot / name)

    monkeypatch.setattr(weights, "hf_hub_download", lambda *_: str(snapshot / "model_index.json"))
    monkeypatch.setattr(weights.DiffusionPipeline, "download", lambda *_, **__: str(snapshot))
    monkeypatch.setattr(single_file, "hf_hub_download", download)
    SD3Parameters(device="cpu", base="owner/name").load(str(file))
    assert asked == [("owner/name", "transformer/config.json")]


def test_too_little_memory_is_no_fault_of_the_file(bases, tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    file = tmp_path / "transformer.safetensors"
    save_file(tiny_sd3().transformer.state_dict(), file)
    monkeypatch.setattr(SD3Transformer2DModel, "from_single_file", exhausted)
    with pytest.raises(OutOfMemoryError, match="cpu ran out of memory when it was to load `model`"):
        SD3Parameters(device="cpu", base=str(bases / "sd3")).load(str(file))
