"""Weights of the newer families by name: folders, variants, single files, GGUF, formats; and what is refused in a sentence."""

import json
import re
import shutil

import pytest
import torch
from adapters.test_quantisation import without_the_check_for_a_gpu
from diffusers import QwenImageEditPipeline, QwenImageImg2ImgPipeline
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from headrouter_chroma.parameters import ChromaParameters
from headrouter_chroma.testing import tiny_chroma
from headrouter_flux2.parameters import Flux2Parameters, KleinParameters
from headrouter_flux2.testing import tiny_flux2, tiny_klein
from headrouter_krea2.parameters import Krea2Parameters
from headrouter_krea2.testing import tiny_krea2
from headrouter_ovis_image.parameters import OvisImageParameters
from headrouter_ovis_image.testing import tiny_ovis_image
from headrouter_qwen_image.parameters import QwenImageParameters
from headrouter_qwen_image.testing import tiny_qwen_image
from headrouter_z_image.parameters import ZImageParameters
from headrouter_z_image.testing import tiny_z_image
from PIL import Image
from safetensors.torch import load_file, save_file

from headrouter import Editor
from headrouter.cli import main
from headrouter.errors import IncompatibleError, InvalidInputError, WeightsError
from headrouter.testing.probe import rows_of

__all__ = ["without_the_check_for_a_gpu"]

BUILD = {
    "flux2": (lambda: Flux2Parameters(device="cpu", max_sequence_length=64), tiny_flux2),
    "flux2-klein": (lambda: KleinParameters(device="cpu", max_sequence_length=64), lambda **of: tiny_klein(True, **of)),
    "chroma": (lambda: ChromaParameters(device="cpu"), tiny_chroma),
    "krea2": (lambda: Krea2Parameters(device="cpu", max_sequence_length=48), lambda **of: tiny_krea2(True, **of)),
    "qwen-image": (lambda: QwenImageParameters(device="cpu", max_sequence_length=64), tiny_qwen_image),
    "z-image": (lambda: ZImageParameters(device="cpu", max_sequence_length=96), tiny_z_image),
    "ovis-image": (lambda: OvisImageParameters(device="cpu", max_sequence_length=64), tiny_ovis_image),
}
NOT_IN_FILES = {
    "flux2": {"system_message": "Draw."},
    "krea2": {
        "prompt_template_encode_prefix": "<|im_start|>user\n",
        "prompt_template_encode_start_idx": 6,
        "prompt_template_encode_suffix": "<|im_end|>ok",
        "prompt_template_encode_num_suffix_tokens": 3,
    },
    "qwen-image": {
        "prompt_template_encode": "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        "prompt_template_encode_start_idx": 6,
    },
    "ovis-image": {"system_prompt": "Describe: ", "user_prompt_begin_id": 15},
}
"""What a class of pipelines sets for released weights, and a tiny pipeline otherwise."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    for name, (_, build) in BUILD.items():
        build(seed=1).save_pretrained(folder / name)
    return folder


def load(name, source, **parameters):
    backbone = BUILD[name][0]().model_copy(update=parameters).load(str(source))
    for key, value in NOT_IN_FILES.get(name, {}).items():
        setattr(backbone.pipeline, key, value)
    backbone.parts = tuple(backbone.text_parts())
    return backbone


def velocity(backbone):
    shape = (1, *backbone.latent_shape(48, 32))
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return backbone.velocity(latents, 0.7, rows_of(backbone, "a cat", guidance=1.0))


def change(folder, **values):
    """Change what ``model_index.json`` says."""
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def with_transformer(name):
    """The pipeline that results of a file of one seed and a base of another."""
    parameters, build = BUILD[name]
    pipeline = build(seed=1)
    pipeline.transformer.load_state_dict(build(seed=0).transformer.state_dict())
    return parameters().model_copy(update={"device": "auto"}).load("tiny", pipeline)


@pytest.mark.parametrize("name", BUILD)
def test_a_folder_and_its_variant(saved, tmp_path, name):
    """Settings of the pipeline beside its parts, such as that it is distilled, are in its folder."""
    parameters, build = BUILD[name]
    given = parameters().model_copy(update={"device": "auto"}).load("tiny", build(seed=1))
    loaded = load(name, saved / name)
    assert loaded.fingerprint() == given.fingerprint() and loaded.provides == given.provides
    torch.testing.assert_close(
        velocity(loaded), velocity(given), rtol=1e-4, atol=1e-4
    )  # where weights lie changes last bits
    folder = shutil.copytree(saved / name, tmp_path / "half")
    [file] = (folder / "transformer").glob("*.safetensors")
    half = {key: value.half() for key, value in load_file(file).items()}
    save_file(half, file.with_name("diffusion_pytorch_model.fp16.safetensors"), {"format": "pt"})
    file.unlink()
    with pytest.raises(WeightsError, match="fp16"):
        load(name, folder)
    torch.testing.assert_close(velocity(load(name, folder, variant="fp16")), velocity(given), rtol=0.1, atol=0.02)


@pytest.mark.parametrize("name", [name for name in BUILD if name != "ovis-image"])
def test_a_single_file(saved, tmp_path, name):
    file, state = tmp_path / "one.safetensors", BUILD[name][1](seed=0).transformer.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, file)
    loaded = load(name, file, base=str(saved / name))
    torch.testing.assert_close(velocity(loaded), velocity(with_transformer(name)), rtol=1e-4, atol=1e-5)


def test_a_single_file_that_diffusers_does_not_read(saved, tmp_path):
    (tmp_path / "one.safetensors").write_bytes(b"")
    with pytest.raises(IncompatibleError, match="diffusers reads no single file of a OvisImageTransformer2DModel"):
        load("ovis-image", tmp_path / "one.safetensors", base=str(saved / "ovis-image"))


@pytest.mark.parametrize("name", ["flux2-klein", "chroma", "krea2", "qwen-image", "z-image"])
def test_a_file_of_gguf(saved, tmp_path, name):
    writer = GGUFWriter(tmp_path / "one.gguf", "diffusion")
    for key, value in BUILD[name][1](seed=0).transformer.state_dict().items():
        array = value.float().numpy()
        if value.ndim == 2 and value.shape[1] % 32 == 0 and re.search("blocks|layers", key) and key.endswith("weight"):
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(key, quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(key, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    exact, found = (
        velocity(backbone)
        for backbone in (with_transformer(name), load(name, tmp_path / "one.gguf", base=str(saved / name)))
    )
    assert 0 < (found - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", [name for name in BUILD if name != "flux2"])
def test_weights_quantised_while_they_load(saved, name):
    exact, found = (velocity(load(name, saved / name, **how)) for how in ({}, {"quantize": "int8-torchao"}))
    assert 0 < (found - exact).norm() < 0.2 * exact.norm()
    with pytest.raises(InvalidInputError, match="`quantize` 'nf4' of the transformer needs an accelerator"):
        load(name, saved / name, quantize="nf4")


@pytest.mark.parametrize("name", ["qwen-image", "z-image", "ovis-image"])
@pytest.mark.usefixtures("without_the_check_for_a_gpu")
def test_a_transformer_of_four_bits(saved, name):
    backbone = load(name, saved / name, quantize={"transformer": "nf4"})
    weights = {type(weight).__name__ for weight in backbone.pipeline.transformer.parameters()}
    exact, found = velocity(load(name, saved / name)), velocity(backbone)
    assert "Params4bit" in weights and 0 < (found - exact).norm() < 0.5 * exact.norm()


@pytest.mark.parametrize(
    ("backbone", "weights", "says"),
    [
        (
            "flux2",
            "flux2-klein",
            "is a Flux2KleinPipeline, which backbone 'flux2' cannot drive. Use backbone 'flux2-klein'.",
        ),
        (
            "flux2-klein",
            "flux2",
            "is a Flux2Pipeline, which backbone 'flux2-klein' cannot drive. Use backbone 'flux2'.",
        ),
        ("flux", "chroma", "is a ChromaPipeline, which backbone 'flux' cannot drive. Use backbone 'chroma'."),
        ("chroma", "krea2", "is a Krea2Pipeline, which backbone 'chroma' cannot drive. Use backbone 'krea2'."),
        ("krea2", "chroma", "is a ChromaPipeline, which backbone 'krea2' cannot drive. Use backbone 'chroma'."),
        (
            "qwen-image",
            "z-image",
            "is a ZImagePipeline, which backbone 'qwen-image' cannot drive. Use backbone 'z-image'.",
        ),
        (
            "z-image",
            "ovis-image",
            "is a OvisImagePipeline, which backbone 'z-image' cannot drive. Use backbone 'ovis-image'.",
        ),
        ("ovis-image", "qwen-image", "is a QwenImagePipeline, which backbone 'ovis-image' cannot drive."),
    ],
)
def test_weights_of_another_family(saved, backbone, weights, says):
    with pytest.raises(IncompatibleError) as caught:
        Editor(backbone, model=str(saved / weights))
    assert says in str(caught.value)


def test_a_variant_of_a_family_that_no_backbone_drives(saved, tmp_path):
    folder = shutil.copytree(saved / "flux2-klein", tmp_path / "kv")
    change(folder, _class_name="Flux2KleinKVPipeline")
    with pytest.raises(IncompatibleError, match="is a Flux2KleinKVPipeline, which backbone 'flux2-klein' cannot drive"):
        Editor("flux2-klein", model=str(folder))


def test_weights_that_edit_by_themselves(saved, tmp_path):
    """Qwen-Image-Edit, by name and given: the backbone would not show it the picture."""
    folder = shutil.copytree(saved / "qwen-image", tmp_path / "edit")
    change(folder, _class_name="QwenImageEditPipeline")
    with pytest.raises(IncompatibleError, match="a QwenImageEditPipeline, which backbone 'qwen-image' cannot drive"):
        Editor("qwen-image", model=str(folder))
    parts = tiny_qwen_image().components
    with pytest.raises(IncompatibleError, match="use the text-to-image weights of the same family"):
        QwenImageParameters().load("tiny", QwenImageEditPipeline(**parts, processor=None))
    with pytest.raises(IncompatibleError, match=r"becomes one by `QwenImagePipeline\.from_pipe\(pipeline\)`"):
        QwenImageParameters().load("tiny", QwenImageImg2ImgPipeline(**parts))


@pytest.mark.parametrize("name", BUILD)
def test_a_missing_text_encoder(saved, tmp_path, name):
    folder = shutil.copytree(saved / name, tmp_path / "broken")
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(WeightsError, match="lacks its 'text_encoder': there is no folder"):
        load(name, folder)
    change(folder, text_encoder=[None, None])
    with pytest.raises(IncompatibleError, match=r"has no 'text_encoder', which a .* needs for an edit"):
        load(name, folder)


@pytest.mark.parametrize("entry", [["os", "system"], "yes", {"a": 1}, [["transformers", "AutoModel"]]])
def test_a_setting_that_is_no_number(saved, tmp_path, entry):
    folder = shutil.copytree(saved / "flux2-klein", tmp_path / "broken")
    change(folder, is_distilled=entry)
    with pytest.raises(WeightsError, match=r"is malformed: model_index\.json has the part 'is_distilled'"):
        load("flux2-klein", folder)


def test_guidance_of_a_model_that_is_distilled_to_none(saved, capsys, tmp_path):
    picture = tmp_path / "photo.png"
    Image.new("RGB", (48, 32), "red").save(picture)
    told = [
        "edit",
        str(picture),
        "--backbone",
        "klein",
        "--model",
        str(saved / "flux2-klein"),
        "--out",
        str(tmp_path / "out"),
    ]
    asks = ["--prompt", "a dog", "--size", "48x32", "--set", "backbone.max_sequence_length=64"]
    assert main([*told, *asks, "--guidance", "3"]) != 0
    said = capsys.readouterr().err
    assert "`guidance` 3 would have no effect" in said and "Leave it out." in said
    assert not (tmp_path / "out").exists()
    backbone = load("flux2-klein", saved / "flux2-klein")
    assert backbone.defaults.guidance == 1.0
    with pytest.raises(IncompatibleError, match="`negative_prompt` 'fog' would have no effect"):
        Editor(backbone, progress=False).generate("a dog", negative_prompt="fog", size=(48, 32))


def test_guidance_of_weights_that_are_known_to_be_distilled(tmp_path):
    """Z-Image-Turbo differs from Z-Image in its weights alone, so that its name decides, wherever it is saved."""
    pipeline = tiny_z_image()
    pipeline.save_pretrained(tmp_path / "model")
    change(tmp_path / "model", _name_or_path="Tongyi-MAI/Z-Image-Turbo")
    editor = Editor("z-image", model=str(tmp_path / "model"), progress=False)
    assert (editor.backbone.defaults.steps, editor.backbone.guided) == (8, False)
    with pytest.raises(InvalidInputError, match=r"`guidance` 4 would have no effect: .* is distilled"):
        editor.generate("a dog", guidance=4.0, size=(48, 32))
    with pytest.raises(IncompatibleError, match="`negative_prompt` 'fog' would have no effect"):
        editor.generate("a dog", negative_prompt="fog", size=(48, 32))


def test_a_processor_without_its_package(saved, tmp_path):
    """FLUX.2 dev is released with one that transformers hides where torchvision is not installed."""
    folder = shutil.copytree(saved / "flux2", tmp_path / "released")
    change(folder, tokenizer=["transformers", "PixtralProcessor"])
    with pytest.raises(
        WeightsError, match=r"PixtralProcessor as its 'tokenizer', which .* Run `pip install torchvision`"
    ):
        load("flux2", folder)
