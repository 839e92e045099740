"""The fingerprint of a pipeline: what changes it, and what does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from headrouter_diffusers.components import described
from headrouter_diffusers.components.content import pipeline_fingerprint
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from peft import LoraConfig
from PIL import Image

from headrouter.editing.editor import Editor
from headrouter.errors import InvalidInputError
from headrouter.models.unchanged import KeptFingerprint


def lora(pipeline: Any, scale: float = 1.0) -> None:
    torch.manual_seed(0)
    pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False))
    pipeline.transformer.set_adapters(["default"], [scale])


def one_weight(pipeline: Any) -> None:
    weight = pipeline.transformer.transformer_blocks[0].attn.to_k.weight
    with torch.no_grad():
        weight[3, 5] += 0.5


def fused(pipeline: Any) -> None:
    lora(pipeline)
    pipeline.transformer.fuse_lora()
    pipeline.transformer.unload_lora()


def one_embedding(pipeline: Any) -> None:
    with torch.no_grad():
        pipeline.text_encoder_2.shared.weight[-1, -1] += 0.5


def quantised(pipeline: Any) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    quantization.quantize_(pipeline.transformer, quantization.Int8WeightOnlyConfig())


def quantised_and_scaled(pipeline: Any) -> None:
    quantised(pipeline)
    with torch.no_grad():
        pipeline.transformer.transformer_blocks[0].attn.to_k.weight.scale.mul_(1.5)


CHANGES = {
    "one weight": one_weight,
    "one row of an embedding": one_embedding,
    "the autoencoder": lambda pipeline: pipeline.vae.decoder.conv_out.bias.data.add_(0.1),
    "a LoRA": lora,
    "half a LoRA": lambda pipeline: lora(pipeline, 0.5),
    "a LoRA switched off": lambda pipeline: (lora(pipeline), pipeline.transformer.disable_lora()),
    "a LoRA fused and unloaded": fused,
    "quantised": quantised,
    "quantised with another scale": quantised_and_scaled,
    "eight bits": lambda pipeline: pipeline.transformer.to(torch.float8_e4m3fn),
    "another schedule": lambda pipeline: pipeline.scheduler.register_to_config(base_shift=0.9),
    "a new word": lambda pipeline: pipeline.tokenizer.add_tokens("<mine>"),
    "shorter prompts": lambda pipeline: setattr(pipeline.tokenizer, "model_max_length", 9),
    "another padding": lambda pipeline: setattr(pipeline.tokenizer, "pad_token", pipeline.tokenizer.bos_token),
}


def test_each_change_is_told_from_every_other() -> None:
    found = {"as it was": pipeline_fingerprint(tiny_flux())}
    for name, change in CHANGES.items():
        pipeline = tiny_flux()
        change(pipeline)
        found[name] = pipeline_fingerprint(pipeline)
    assert len(set(found.values())) == len(found), found


def unworded(pipeline: Any) -> None:
    """Turn the numbers of two words round."""
    vocabulary = pipeline.tokenizer.get_vocab()
    first, second = sorted(vocabulary)[:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    pipeline.tokenizer.get_vocab = lambda: vocabulary


IN_PLACE = {
    "a list of a configuration": lambda pipeline: pipeline.transformer.config.axes_dims_rope.reverse(),
    "a number of a configuration": lambda pipeline: setattr(pipeline.text_encoder.config, "hidden_act", "gelu_new"),
    "a setting that counts as the same number": lambda pipeline: pipeline.scheduler.register_to_config(
        use_dynamic_shifting=int(pipeline.scheduler.config.use_dynamic_shifting)
    ),
    "as many words": unworded,
    **{name: CHANGES[name] for name in ("another schedule", "a new word", "shorter prompts", "a LoRA", "one weight")},
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_change_between_two_hashes_of_one_pipeline_is_seen(name: str) -> None:
    """Descriptions are kept from one hash to the next; the reference is written anew."""
    pipeline = tiny_flux()
    pipeline.transformer.register_to_config(axes_dims_rope=list(pipeline.transformer.config.axes_dims_rope))
    before = pipeline_fingerprint(pipeline)
    assert pipeline_fingerprint(pipeline) == before
    IN_PLACE[name](pipeline)
    after = pipeline_fingerprint(pipeline)
    described._configurations.clear()
    described._vocabularies.clear()
    assert after == pipeline_fingerprint(pipeline) != before


def other_weights(pipeline: Any) -> None:
    state = pipeline.vae.state_dict()
    pipeline.vae.load_state_dict({name: tensor * 1.5 for name, tensor in state.items()})


def shifted(pipeline: Any) -> None:
    for weight in pipeline.text_encoder.parameters():
        weight.data += 0.5


def without_lora(pipeline: Any) -> None:
    pipeline.transformer.disable_lora()


@pytest.mark.parametrize("changes", [(lora, without_lora), (fused,), (quantised,)], ids=["lora", "fused", "quantised"])
def test_what_a_backbone_keeps_is_what_is_written_anew(changes: tuple[Any, ...]) -> None:
    """A backbone keeps the fingerprint of a small model; the reference is made of the same pipeline from nothing."""
    pipeline = tiny_flux()
    kept, found = KeptFingerprint(), list[str]()
    every = (other_weights, shifted, one_embedding, *changes, CHANGES["a new word"])
    for change in (lambda _: None, *every, lambda pipeline: pipeline.vae.to(torch.bfloat16)):
        change(pipeline)
        found.append(pipeline_fingerprint(pipeline, kept))
        assert found[-1] == pipeline_fingerprint(pipeline) == pipeline_fingerprint(pipeline, kept)
    assert len(set(found[:-1])) == len(found) - 1 and found[-1] == found[-2]


SAME = {
    "bfloat16": lambda pipeline, _: pipeline.to(torch.bfloat16),
    "compiled": lambda pipeline, _: setattr(
        pipeline, "transformer", torch.compile(pipeline.transformer, backend="eager")
    ),
    "compiled in place": lambda pipeline, _: pipeline.transformer.compile(backend="eager"),
    "layer by layer": lambda pipeline, _: pipeline.enable_sequential_cpu_offload(device="cpu"),
    "model by model": lambda pipeline, _: pipeline.enable_model_cpu_offload(device="cpu"),
    "in groups": lambda pipeline, _: pipeline.enable_group_offload(torch.device("cpu"), offload_type="leaf_level"),
    "in groups on disk": lambda pipeline, folder: pipeline.transformer.enable_group_offload(
        torch.device("cpu"), offload_type="leaf_level", offload_to_disk_path=str(folder)
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_how_weights_are_held_is_no_change(case: str, tmp_path: Path) -> None:
    plain, other = tiny_flux(), tiny_flux()
    SAME[case](other, tmp_path)
    assert pipeline_fingerprint(other) == pipeline_fingerprint(plain)


def test_a_fingerprint_changes_nothing() -> None:
    pipeline = tiny_sd3()
    before = {name: tensor.clone() for name, tensor in pipeline.transformer.state_dict().items()}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = pipeline_fingerprint(pipeline)
    torch.set_default_dtype(torch.float64)
    try:
        assert pipeline_fingerprint(pipeline) == inside
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipeline.transformer.state_dict().items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "flux"
    tiny_flux().save_pretrained(folder)
    return folder


def flux(model: Path, **values: Any) -> Editor:
    return Editor(FluxParameters(**values), "euler", None, model=str(model), progress=False)


def test_a_pipeline_is_the_same_from_another_folder_in_another_precision_and_given_loaded(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    index = json.loads((tmp_path / "elsewhere" / "transformer" / "config.json").read_text())
    (tmp_path / "elsewhere" / "transformer" / "config.json").write_text(json.dumps({**index, "_name_or_path": "/x"}))
    first = flux(folder).backbone
    assert pipeline_fingerprint(tiny_flux()) == first.fingerprint(), "saving and loading change nothing"
    others = [flux(tmp_path / "elsewhere"), flux(folder, dtype="bfloat16"), Editor("flux", pipeline=first.pipeline)]
    assert {first.fingerprint()} == {other.backbone.fingerprint() for other in others}


PICTURE, GIVEN = Image.new("RGB", (48, 32), "teal"), {"size": (48, 32), "steps": 2}


def test_a_kept_inversion_belongs_to_weights_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    path = flux(folder).invert(PICTURE, **GIVEN).save(tmp_path / "kept.safetensors")
    assert str(tmp_path).encode() not in path.read_bytes() and b"flux/" not in path.read_bytes()
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    loaded = flux(moved)
    given = Editor("flux", "euler", None, pipeline=loaded.backbone.pipeline, progress=False)
    object_ = Editor(loaded.backbone, "euler", None, progress=False)
    for editor in (loaded, given, object_):
        editor.edit(PICTURE, "a dog", start=path, **GIVEN)
    lora(loaded.backbone.pipeline)
    with pytest.raises(InvalidInputError, match=r"by its weights \('[0-9a-f]{16}', here '[0-9a-f]{16}'\)"):
        loaded.edit(PICTURE, "a dog", start=path, **GIVEN)


def test_other_weights_at_the_same_path_are_refused(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "model")
    path = flux(moved).invert(PICTURE, **GIVEN).save(tmp_path / "kept.safetensors")
    other = tiny_flux()
    one_weight(other)
    other.save_pretrained(moved)
    with pytest.raises(InvalidInputError, match="by its weights"):
        flux(moved).edit(PICTURE, "a dog", start=path, **GIVEN)


def test_what_guides_an_object_counts_as_what_guides_a_name(folder: Path, tmp_path: Path) -> None:
    pipeline = flux(folder).backbone.pipeline
    kept = Editor(FluxParameters().load("x", pipeline), "euler", None, progress=False).invert(PICTURE, **GIVEN)
    two_pass = FluxParameters(guidance_kind="two-pass").load("x", pipeline)
    with pytest.raises(InvalidInputError, match=r"by its backbone\.guidance_kind \('auto', here 'two-pass'\)"):
        Editor(two_pass, "euler", None, progress=False).edit(PICTURE, "a dog", start=kept, **GIVEN)
