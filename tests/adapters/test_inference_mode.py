"""Calls in inference mode: the same bits, for code of the model alone, and no tensor of the mode is left anywhere."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from headrouter_diffusers.attention.inference import is_unseen
from headrouter_diffusers.testing import tiny_flux
from headrouter_flux.parameters import FluxParameters
from torch.nn import functional

from headrouter.compat import modules_within
from headrouter.models.backbone import Backbone

from .conftest import Plain, Steering, build, noise, rows_of
from .test_companions import lora

Change = Callable[[Any], object]


def _hook(pipeline: Any, seen: list[Any]) -> object:
    return pipeline.transformer.transformer_blocks[0].register_forward_hook(lambda module, given, out: seen.append(out))


CHANGES: dict[str, Change] = {
    "a hook": lambda pipeline: _hook(pipeline, []),
    "an adapter": lora,
    "compiled blocks": lambda pipeline: pipeline.transformer.compile_repeated_blocks(backend="eager"),
    "layers of a subclass": lambda pipeline: setattr(
        pipeline.transformer, "proj_out", type("Mine", (torch.nn.Linear,), {"__module__": "mine"})(4, 4)
    ),
    "a forward of a module's own": lambda pipeline: setattr(
        pipeline.transformer.proj_out, "forward", pipeline.transformer.proj_out.forward
    ),
    "a forward that took the place of a class's": lambda pipeline: setattr(
        pipeline.transformer,
        "proj_out",
        type("Linear", (torch.nn.Linear,), {"__module__": "torch.nn.modules.linear", "forward": lambda *_: None})(4, 4),
    ),
    "a processor": lambda pipeline: pipeline.transformer.transformer_blocks[0].attn.set_processor(
        type("Mine", (FluxAttnProcessor,), {"__module__": "mine"})()
    ),
    "weights of a subclass": lambda pipeline: setattr(
        pipeline.transformer.x_embedder, "weight", type("Mine", (torch.nn.Parameter,), {})(torch.zeros(2, 2))
    ),
    "weights brought by group": lambda pipeline: pipeline.transformer.enable_group_offload(
        torch.device("cpu"), torch.device("cpu"), offload_type="leaf_level"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_else_may_see_a_call(name: str) -> None:
    pipeline = tiny_flux()
    assert is_unseen(pipeline.transformer)
    CHANGES[name](pipeline)
    assert not is_unseen(pipeline.transformer)


def test_another_kernel_in_the_place_of_pytorchs_may_see_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "scaled_dot_product_attention", lambda query, key, value: value)
    assert not is_unseen(tiny_flux().transformer)


class Frozen(Plain):
    """Notes whether gradients are kept."""

    def attention(self, event: Any) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        return super().attention(event)

    def text(self, stream: Any) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        return super().text(stream)


@pytest.mark.parametrize("kind", ["flux", "sd3.5-medium"])
@pytest.mark.parametrize("seen", [True, False])
def test_no_call_keeps_gradients_of_weights_that_may_be_trained(kind: str, seen: bool) -> None:
    """Leaving inference mode turns gradients on."""
    backbone: Any = build(kind)
    rows, latents = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2)
    backbone.pipeline.transformer.requires_grad_(True)
    if seen:
        backbone.pipeline.transformer.register_forward_hook(lambda *_: None)
    assert backbone.device.type == "cpu"
    assert not backbone.velocity(latents, 0.7, rows).requires_grad
    with backbone.attach(Frozen()):
        assert not backbone.velocity(latents, 0.7, rows).requires_grad


class Looking(Steering):
    """Steers, and notes in which mode, and that its own tensors can be written into."""

    def attention(self, event: Any) -> torch.Tensor:
        output = super().attention(event)
        assert event.key.is_inference(), "the call is in inference mode"
        assert not torch.is_inference_mode_enabled() and not torch.is_grad_enabled() and not output.is_inference()
        return output.mul_(1.5)

    def text(self, stream: Any) -> torch.Tensor:
        changed = super().text(stream)
        assert stream.hidden.is_inference() and not changed.is_inference()
        return changed


@pytest.mark.parametrize("listener", [None, Plain, Looking])
@pytest.mark.parametrize("kind", ["flux", "sd3", "sd3.5-medium"])
def test_bits_are_those_of_a_call_without_it(kind: str, listener: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone: Any = build(kind)
    rows, latents = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2)

    def velocity() -> torch.Tensor:
        backbone.device  # noqa: B018  what a run asks first
        if listener is None:
            return backbone.velocity(latents, 0.7, rows)
        with backbone.attach(listener()):
            return backbone.velocity(latents, 0.7, rows)

    found = velocity()
    assert not found.is_inference()
    left = [
        (type(module).__name__, name)
        for module in modules_within(backbone.pipeline.transformer)
        for name, value in {**vars(module), **module._parameters, **module._buffers}.items()
        if isinstance(value, torch.Tensor) and value.is_inference()
    ]
    assert not left
    if listener is Looking:
        return
    monkeypatch.setattr(type(backbone), "keeps_no_tensor", False)
    assert torch.equal(found, velocity())


def test_a_hook_that_comes_between_runs_gets_tensors_that_it_may_keep() -> None:
    pipeline, seen = tiny_flux(), list[Any]()
    backbone: Backbone = FluxParameters().load("tiny", pipeline)
    backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))
    _hook(pipeline, seen)
    assert backbone.device.type == "cpu"
    backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))
    assert seen and not any(one.is_inference() for one in seen[0])
