"""Where a model computes is asked for once a run, not once a call, and a change between runs is seen."""

import pytest
import torch
from accelerate.hooks import AlignDevicesHook
from diffusers import DiffusionPipeline
from diffusers.hooks import HookRegistry, apply_group_offloading
from headrouter_diffusers import compat
from PIL import Image

from headrouter import Editor
from headrouter.models.backbone import Backbone

from .conftest import build, rows_of

KINDS = ("flux", "sd3")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Devices that pipelines were asked for, in order."""
    plain, seen = DiffusionPipeline._execution_device.fget, []

    def read(pipeline: object) -> torch.device:
        seen.append("asked")
        return plain(pipeline)

    monkeypatch.setattr(DiffusionPipeline, "_execution_device", property(read))
    return seen


def velocity(backbone: Backbone) -> torch.Tensor:
    latents = torch.ones(1, *backbone.latent_shape(32, 32), dtype=torch.float32, device=backbone.device)
    return backbone.velocity(latents, 0.5, rows_of(backbone, "a cat", guidance=3.0))


@pytest.mark.parametrize("kind", KINDS)
def test_calls_of_the_model_do_not_ask_again(kind, asked):
    backbone = build(kind)
    rows = rows_of(backbone, "a cat", guidance=3.0)
    latents = torch.ones(1, *backbone.latent_shape(32, 32), dtype=torch.float32, device=backbone.device)
    backbone.velocity(latents, 0.5, rows)
    asked.clear()
    for _ in range(3):
        backbone.velocity(latents, 0.5, rows)
    assert not asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_edit_asks_once_for_a_device(kind, asked):
    """Each time is a walk over all modules, which on a small model takes as long as a block."""
    editor, picture = Editor(build(kind), "rf", None, progress=False), Image.new("RGB", (32, 32))
    editor.edit(picture, "a dog", "a cat", steps=1, maps=False)
    asked.clear()
    editor.edit(picture, ["a dog", "a bird"], "a cat", steps=2, maps=False)
    assert len(asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_model_gets_inputs_of_its_number_type(kind):
    backbone = build(kind)
    given: list[torch.dtype] = []
    backbone.pipeline.transformer.register_forward_pre_hook(
        lambda _, __, inputs: given.append(inputs["hidden_states"].dtype), with_kwargs=True
    )
    velocity(backbone)
    backbone.pipeline.transformer.to(torch.bfloat16)
    velocity(backbone)
    assert given == [torch.float32, torch.bfloat16]


def _hook(module: torch.nn.Module) -> None:
    module._hf_hook = AlignDevicesHook(execution_device=torch.device("meta"))


@pytest.mark.parametrize(
    ("change", "is_asked"),
    [
        (lambda pipeline: None, False),
        (lambda pipeline: HookRegistry.check_if_exists_or_initialize(pipeline.transformer), False),
        (lambda pipeline: pipeline.vae.to("meta"), True),
        (lambda pipeline: _hook(pipeline.transformer.transformer_blocks[0].norm1), True),
        (lambda pipeline: _hook(pipeline.text_encoder), True),
        (
            lambda pipeline: apply_group_offloading(
                pipeline.transformer, torch.device("cpu"), offload_type="leaf_level"
            ),
            True,
        ),
    ],
    ids=["plain", "no hooks in a list of them", "two devices", "hook within", "hook", "group offloading"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_walk_over_all_modules_finds_what_the_pipeline_says(kind, change, is_asked, asked, monkeypatch):
    """Of a pipeline without hooks; with a hook anywhere, or weights on several devices, the pipeline itself is asked."""
    pipeline = build(kind).pipeline
    monkeypatch.setattr(compat, "_EXECUTION_DEVICE", DiffusionPipeline._execution_device)
    change(pipeline)
    asked.clear()
    found = compat.execution_device(pipeline)
    assert bool(asked) is is_asked
    assert found == pipeline._execution_device


def test_a_device_that_changes_is_seen(monkeypatch):
    """Asking for the device, as each run does, forgets the last one; so do hooks on the transformer."""
    backbone = build("sd3")
    kind = type(backbone.pipeline)
    assert backbone.device.type == "cpu"
    monkeypatch.setattr(kind, "_execution_device", property(lambda _: torch.device("meta")))
    assert backbone._placement()[0].type == "cpu"
    backbone.pipeline.transformer._hf_hook = object()
    assert backbone._placement()[0].type == "meta"
    del backbone.pipeline.transformer._hf_hook
    assert backbone.device.type == "meta"
    assert backbone._placement()[0].type == "meta"
