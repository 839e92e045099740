"""Weights quantised while they load, by name; and edits with them, steered."""

import math
from importlib.metadata import PackageNotFoundError

import diffusers
import pytest
import torch
import transformers
from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer, BnB8BitDiffusersQuantizer
from headrouter_diffusers import testing
from headrouter_diffusers.components import quantisation
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from PIL import Image
from safetensors.torch import save_file

from headrouter import Editor, replay
from headrouter.cli import main
from headrouter.config.configuration import validate
from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError
from headrouter.methods.head_router.method import HeadRouter

from .conftest import noise, rows_of


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folders of tiny pipelines, wide enough for blocks of 64 weights."""
    folder = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_T5_WIDTH", 64)
        patch.setattr(testing, "_CLIP_WIDTH", 32)
        tiny_flux().save_pretrained(folder / "flux")
        tiny_sd3().save_pretrained(folder / "sd3")
    return folder


def velocity(backbone):
    return backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))


def error_of(folder, **parameters):
    exact = velocity(SD3Parameters(device="cpu").load(str(folder / "sd3")))
    loaded = SD3Parameters(device="cpu", **parameters).load(str(folder / "sd3"))
    return float((velocity(loaded) - exact).norm() / exact.norm()), loaded.pipeline


def kinds(pipeline):
    """Kinds of the weights of transformer, T5 and CLIP."""
    weights = (
        pipeline.transformer.transformer_blocks[0].attn.to_q.weight,
        pipeline.text_encoder_3.encoder.block[0].layer[0].SelfAttention.q.weight,
        pipeline.text_encoder.text_model.encoder.layers[0].self_attn.q_proj.weight,
    )
    return [type(weight).__name__ for weight in weights]


@pytest.fixture
def without_the_check_for_a_gpu(monkeypatch):
    """diffusers' bitsandbytes on the CPU, whose kernels bitsandbytes has; what diffusers and we check is taken out."""
    for quantiser in (BnB4BitDiffusersQuantizer, BnB8BitDiffusersQuantizer):
        monkeypatch.setattr(quantiser, "validate_environment", lambda *_, **__: None)
        monkeypatch.setattr(quantiser, "update_device_map", lambda *_: {"": "cpu"})
    for module in ("nn.modules", "backends.cpu.ops"):  # whose kernels for some processors take wider layers only
        monkeypatch.setattr(f"bitsandbytes.{module}.has_avx512bf16", lambda: False)
    checked = quantisation.formats_of
    monkeypatch.setattr(
        "headrouter_diffusers.loading.formats_of",
        lambda parameters, large, _: checked(parameters, large, torch.device("meta")),
    )


@pytest.mark.parametrize(("name", "kind", "most"), [("int8-torchao", "Int8Tensor", 0.05), ("fp8", "Float8Tensor", 0.2)])
def test_torchao(saved, name, kind, most):
    error, pipeline = error_of(saved, quantize=name)
    assert 1e-4 < error < most
    assert kinds(pipeline) == [kind, kind, "Parameter"]
    assert pipeline.vae.dtype == torch.float32


@pytest.mark.parametrize(("name", "kind", "most"), [("nf4", "Params4bit", 0.5), ("int8", "Int8Params", 0.1)])
@pytest.mark.usefixtures("without_the_check_for_a_gpu")
def test_bitsandbytes(saved, name, kind, most):
    error, pipeline = error_of(saved, quantize=name)
    assert 1e-4 < error < most
    assert kinds(pipeline) == [kind, kind, "Parameter"]


def test_formats_by_component(saved):
    _, pipeline = error_of(saved, quantize={"text_encoder_3": "int8", "text_encoder": "int8-torchao"})
    assert kinds(pipeline) == ["Parameter", "Int8Params", "Int8Tensor"]


def test_a_component_that_is_left_out_is_not_meant_by_a_format_alone(saved):
    loaded = SD3Parameters(device="cpu", t5=False, quantize="int8-torchao").load(str(saved / "sd3"))
    assert loaded.pipeline.text_encoder_3 is None


@pytest.mark.parametrize("name", ["int8-torchao", "nf4"])
@pytest.mark.usefixtures("without_the_check_for_a_gpu")
def test_a_single_file(saved, tmp_path, name):
    state = SD3Parameters(device="cpu").load(str(saved / "sd3")).pipeline.transformer.state_dict()
    save_file(state, tmp_path / "sd3.safetensors")
    common = {"device": "cpu", "quantize": {"transformer": name}}
    loaded = SD3Parameters(base=str(saved / "sd3"), **common).load(str(tmp_path / "sd3.safetensors"))
    assert kinds(loaded.pipeline) == [{"nf4": "Params4bit"}.get(name, "Int8Tensor"), "Parameter", "Parameter"]
    assert torch.equal(velocity(loaded), velocity(SD3Parameters(**common).load(str(saved / "sd3"))))


@pytest.mark.parametrize("name", ["int8-torchao", "fp8", "nf4", "int8"])
@pytest.mark.usefixtures("without_the_check_for_a_gpu")
def test_an_edit_is_steered(saved, name):
    formats = {"transformer": name}
    editor = Editor("sd3", "euler", None, model=str(saved / "sd3"), device="cpu", quantize=formats, progress=False)
    asked = {"prompt": "a dog", "source_prompt": "a cat", "steps": 2, "size": (48, 32)}
    plain = editor.edit(Image.new("RGB", (48, 32), "teal"), **asked)
    steer = Editor(editor.backbone, "euler", HeadRouter(gamma=1.0), progress=False)
    steered = steer.edit(Image.new("RGB", (48, 32), "teal"), **asked)
    assert steered.image.tobytes() != plain.image.tobytes()
    assert steered.head_weights.isfinite().all()
    assert plain.record.backbone.parameters["quantize"] == formats


def test_from_the_command_line_and_again(saved, tmp_path):
    Image.new("RGB", (48, 32), "teal").save(tmp_path / "photo.png")
    common = ["edit", str(tmp_path / "photo.png"), "--prompt", "a dog", "--backbone", "sd3", "--steps", "2"]
    common += ["--model", str(saved / "sd3"), "--device", "cpu", "--no-progress", "--size", "48x32"]
    ways = {
        "one": ["--quantize", "transformer=int8-torchao"],
        "set": ["--set", "backbone.quantize.transformer=int8-torchao"],
        "plain": [],
    }
    for out, how in ways.items():
        assert main([*common, *how, "-o", str(tmp_path / out)]) == 0
    pixels = {out: Image.open(tmp_path / out / "edit-0.png").tobytes() for out in ways}
    assert pixels["one"] == pixels["set"] != pixels["plain"]
    again = replay(tmp_path / "one", progress=False)
    assert again.record.backbone.parameters["quantize"] == {"transformer": "int8-torchao"}
    assert again.image.tobytes() == pixels["one"]


@pytest.mark.parametrize(
    "texts", [["nf4", "int8"], ["transformer=nf4", "transformer=int8"], ["=nf4"], ["transformer="]]
)
def test_command_lines_that_say_two_things(tmp_path, capsys, texts):
    Image.new("RGB", (48, 32)).save(tmp_path / "photo.png")
    options = [part for text in texts for part in ("--quantize", text)]
    assert main(["edit", str(tmp_path / "photo.png"), "--prompt", "a dog", *options, "-o", str(tmp_path / "out")]) == 2
    assert "`--quantize` takes one FORMAT, or COMPONENT=FORMAT once for each" in capsys.readouterr().err


@pytest.mark.parametrize("library", [diffusers, transformers], ids=lambda library: library.__name__)
def test_what_the_libraries_are_asked_for(library):
    asked = quantisation._configuration("nf4", library, torch.bfloat16)
    assert (asked.load_in_4bit, asked.bnb_4bit_quant_type, asked.bnb_4bit_compute_dtype) == (
        True,
        "nf4",
        torch.bfloat16,
    )
    assert quantisation._configuration("int8", library, torch.bfloat16).load_in_8bit
    for name, kind in (("int8-torchao", "Int8WeightOnlyConfig"), ("fp8", "Float8WeightOnlyConfig")):
        assert type(quantisation._configuration(name, library, torch.bfloat16).quant_type).__name__ == kind


def refused(saved, match, error=InvalidInputError, **parameters):
    with pytest.raises(HeadRouterError, match=match) as caught:
        SD3Parameters(device="cpu", **parameters).load(str(saved / "sd3"))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nf4", "int8"])
def test_bitsandbytes_without_an_accelerator(saved, name):
    refused(
        saved,
        f"`quantize` '{name}' of the transformer needs an accelerator.*Use 'int8-torchao' or 'fp8'",
        quantize=name,
    )


@pytest.mark.parametrize(("name", "package"), [("nf4", "bitsandbytes"), ("fp8", "torchao")])
@pytest.mark.parametrize("there", [None, "0.1"])
def test_packages_that_are_missing_or_old(monkeypatch, saved, name, package, there):
    def version(asked):
        if there is None:
            raise PackageNotFoundError(asked)
        return there

    monkeypatch.setattr(quantisation, "version", version)
    said = f"needs the package {package} 0.* or newer, and .*Run `pip install -U {package}`"
    refused(saved, said, quantize={"text_encoder_3": name})


def test_components_that_cannot_be_quantised(saved):
    refused(saved, "'vae', and the autoencoder stays in float32", quantize={"vae": "int8-torchao"})
    refused(
        saved,
        "'text_encoder_9', which is not loaded here. There are: text_encoder,",
        quantize={"text_encoder_9": "fp8"},
    )
    refused(saved, "'tokenizer', which is not loaded", quantize={"tokenizer": "fp8"})
    refused(saved, "'text_encoder_3', which is not loaded", t5=False, quantize={"text_encoder_3": "fp8"})


def test_group_offloading_with_bitsandbytes():
    parameters = SD3Parameters(quantize={"text_encoder_3": "int8"}, offload="group")
    with pytest.raises(InvalidInputError, match=r"`offload` 'group' cannot move .* Use 'model'"):
        quantisation.formats_of(parameters, (), torch.device("meta"))


def test_a_device_without_float8(monkeypatch):
    def to(*_, **__):
        raise TypeError("no float8 here")

    monkeypatch.setattr(torch.Tensor, "to", to)
    with pytest.raises(
        InvalidInputError, match=r"8 bits that cpu does not have \(no float8 here\)\. Use 'int8-torchao'"
    ):
        quantisation.formats_of(SD3Parameters(quantize="fp8"), ("transformer",), torch.device("cpu"))


def test_weights_that_are_quantised_already(saved, tmp_path):
    loaded = SD3Parameters(device="cpu", quantize={"transformer": "int8-torchao"}).load(str(saved / "sd3"))
    loaded.pipeline.save_pretrained(tmp_path)
    with pytest.raises(IncompatibleError, match=r"'transformer' in .* are quantised already. Leave it out"):
        SD3Parameters(device="cpu", quantize="fp8").load(str(tmp_path))
    assert torch.equal(velocity(SD3Parameters(device="cpu").load(str(tmp_path))), velocity(loaded))


@pytest.mark.parametrize("value", ["nf5", 8, {"transformer": "nf5"}, ["nf4"], math.nan])
def test_names_of_formats(value):
    with pytest.raises(
        InvalidInputError, match="`quantize`: must be one of nf4, int8, int8-torchao, fp8, or a mapping"
    ) as caught:
        validate(SD3Parameters, {"quantize": value})
    assert "\n" not in str(caught.value)


def test_t5_cannot_be_left_out_of_flux(tmp_path, capsys):
    with pytest.raises(InvalidInputError, match="`t5`: cannot be turned off for this model, which reads every word"):
        validate(FluxParameters, {"t5": False})
    assert validate(FluxParameters, {"t5": True}).t5
    Image.new("RGB", (48, 32)).save(tmp_path / "photo.png")
    photo = [str(tmp_path / "photo.png"), "--prompt", "a dog", "-o", str(tmp_path / "out")]
    for backbone in ("flux", "auraflow"):
        assert main(["edit", *photo, "--backbone", backbone, "--set", "backbone.t5=false"]) == 2
        assert "through T5 alone" in capsys.readouterr().err


def test_a_kept_inversion_knows_the_format(saved):
    picture, asked = Image.new("RGB", (48, 32), "teal"), {"steps": 2, "size": (48, 32)}
    common = {"model": str(saved / "sd3"), "device": "cpu", "progress": False}
    whole, packed = (Editor("sd3", "euler", None, quantize=one, **common) for one in (None, "int8-torchao"))
    kept = packed.invert(picture, "a cat", **asked)
    packed.edit(picture, "a dog", "a cat", start=kept, **asked)
    with pytest.raises(InvalidInputError, match="weights"):
        whole.edit(picture, "a dog", "a cat", start=kept, **asked)
