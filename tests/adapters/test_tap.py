"""The tap: attached with a listener that changes nothing the model is bit-equal; afterwards it is what it was."""

import inspect
import threading
from contextlib import nullcontext

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from headrouter_diffusers.attention.processors import signatures_known, signatures_of

from headrouter.errors import IncompatibleError
from headrouter.testing import snapshot

from .conftest import ImageOnly, Plain, Steering, build, noise, rows_of

SITES = {
    "flux": [f"transformer_blocks.{i}.attn" for i in range(2)]
    + [f"single_transformer_blocks.{i}.attn" for i in range(2)],
    "sd3": [f"transformer_blocks.{i}.attn" for i in range(3)],
}


def state(model):
    """Everything that attaching might leave behind."""
    return {**snapshot.state(model), "backends": list(_AttentionBackendRegistry._backends.items())}


def test_with_log_sum_exp_kept(backbone):
    rows, latents, listener = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2), Plain(log_sum_exp=True)
    plain = backbone.velocity(latents, 0.7, rows)
    with backbone.attach(listener):
        heard = backbone.velocity(latents, 0.7, rows)
    assert (heard - plain).norm() <= 1e-6 * plain.norm()
    for event in listener.events:
        assert event._native
        logits = event.query @ event.key.mT * event.scale
        torch.testing.assert_close(event.log_sum_exp(), logits.logsumexp(-1), rtol=1e-5, atol=1e-5)


def test_every_site_once_and_in_order(backbone):
    rows, latents, listener = rows_of(backbone, "a cat"), noise(backbone), Plain()
    with backbone.attach(listener):
        backbone.velocity(latents, 0.7, rows)
        backbone.velocity(latents, 0.3, rows)
    paths = SITES["flux" if "single-stream" in backbone.provides else "sd3"]
    assert [site.path for site in backbone.sites] == paths
    assert [event.site for event in listener.events] == 2 * list(backbone.sites)
    assert [stream.site for stream in listener.streams] == 2 * list(backbone.sites)
    assert [site.index for site in backbone.sites] == list(range(len(paths)))
    assert [site.text_output for site in backbone.sites] == [True] * (len(paths) - 1) + [False]
    assert {site.heads for site in backbone.sites} == {4}
    assert listener.forwards == 2
    assert [event.step_info.forward for event in listener.events] == [1] * len(paths) + [2] * len(paths)


def test_image_only_attention_is_known_and_heard_by_itself():
    backbone = build("sd3.5-medium")
    assert [(site.index, site.path, site.stream) for site in backbone.image_sites] == [
        (0, "transformer_blocks.0.attn2", "image"),
        (1, "transformer_blocks.1.attn2", "image"),
    ]
    assert "image-attention" in backbone.provides
    assert "image-attention" not in build("sd3").provides
    assert build("sd3").image_sites == ()
    rows, latents, listener = rows_of(backbone, "a cat"), noise(backbone), ImageOnly()
    plain = backbone.velocity(latents, 0.7, rows)
    with backbone.attach(listener):
        heard = backbone.velocity(latents, 0.7, rows)
    assert torch.equal(heard, plain)
    assert [event.site for event in listener.alone] == list(backbone.image_sites)
    assert [event.site for event in listener.events] == list(backbone.sites)
    for event, joint in zip(listener.alone, listener.events, strict=False):
        assert event.layout.grid == joint.layout.grid and event.layout.length == event.query.shape[2]
        assert event.layout.image == slice(0, event.layout.length) and event.layout.text == slice(0, 0)
        assert event.rows == joint.rows
    with backbone.attach(ImageOnly(2.0)):
        assert not torch.allclose(backbone.velocity(latents, 0.7, rows), plain, rtol=1e-3)


def test_attached_processors_keep_what_callers_ask_of_them(backbone):
    """Attention modules look at the signature to tell which arguments to pass, and messages at the name."""
    modules = [backbone.pipeline.transformer.get_submodule(site.path) for site in backbone.sites]

    def seen():
        processors = [module.processor for module in modules]
        return [
            (id(item), inspect.signature(item.__call__), type(item).__qualname__, vars(item)) for item in processors
        ]

    before, classes = seen(), [type(module.processor) for module in modules]
    with backbone.attach(Plain()):
        assert seen() == before
        for module, kind in zip(modules, classes, strict=True):
            assert isinstance(module.processor, kind)
            assert type(module.processor) is not kind


@pytest.mark.parametrize("ending", ["exit", "listener", "body"])
def test_afterwards_the_model_is_what_it_was(backbone, ending):
    class Failing(Steering):
        def attention(self, event):
            if event.site.index == 1:
                raise ZeroDivisionError
            return super().attention(event)

    rows, latents, model = rows_of(backbone, "a cat"), noise(backbone), backbone.pipeline.transformer
    plain, before = backbone.velocity(latents, 0.7, rows), state(model)
    if ending == "exit":
        with backbone.attach(Steering()):
            assert state(model) != before
            assert not torch.allclose(backbone.velocity(latents, 0.7, rows), plain, rtol=1e-3)
    elif ending == "listener":
        with pytest.raises(ZeroDivisionError), backbone.attach(Failing()):
            backbone.velocity(latents, 0.7, rows)
    else:
        with pytest.raises(KeyError), backbone.attach(Plain()):
            raise KeyError
    assert state(model) == before
    assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)


def test_attached_the_model_is_unsteered_outside_of_velocity(backbone):
    pipeline, listener = backbone.pipeline, Steering()
    call = {"width": 48, "height": 32, "num_inference_steps": 1, "output_type": "latent", "max_sequence_length": 24}
    plain = pipeline("a cat", generator=torch.Generator().manual_seed(0), **call).images
    with backbone.attach(listener):
        assert torch.equal(pipeline("a cat", generator=torch.Generator().manual_seed(0), **call).images, plain)
    assert not listener.events


@pytest.mark.parametrize("kind", ["flux", "sd3.5-medium"])
def test_a_second_listener_is_refused(kind):
    backbone = build(kind)
    again = type(backbone)("again", backbone.pipeline, backbone.parameters) if kind == "flux" else backbone
    with backbone.attach(Plain()), pytest.raises(IncompatibleError, match="already"), again.attach(Plain()):
        pass
    with again.attach(Plain()):
        pass


def test_two_models_nested():
    one, other = build("flux"), build("sd3")
    before = list(_AttentionBackendRegistry._backends.items())
    plain = {item: item.velocity(noise(item), 0.7, rows_of(item, "a cat")) for item in (one, other)}
    listeners = {one: Plain(), other: Plain()}
    with one.attach(listeners[one]):
        with other.attach(listeners[other]):
            for item in (one, other):
                assert torch.equal(item.velocity(noise(item), 0.7, rows_of(item, "a cat")), plain[item])
        assert torch.equal(one.velocity(noise(one), 0.7, rows_of(one, "a cat")), plain[one])
    assert len(listeners[one].events) == 2 * len(one.sites)
    assert len(listeners[other].events) == len(other.sites)
    assert list(_AttentionBackendRegistry._backends.items()) == before


def test_two_models_with_one_processor_object():
    one, other = build("sd3"), build("sd3", seed=1)
    shared = one.pipeline.transformer.transformer_blocks[0].attn.processor
    for item in (one, other):
        item.pipeline.transformer.set_attn_processor(shared)
    listener, own = Plain(), type(shared)
    with other.attach(listener):
        with one.attach(Plain()):
            pass
        other.velocity(noise(other), 0.7, rows_of(other, "a cat"))
    assert len(listener.events) == len(other.sites)
    assert type(shared) is own


def test_a_model_called_while_another_attends():
    one, other = build("flux"), build("schnell")
    rows = {item: rows_of(item, "a cat") for item in (one, other)}
    plain = {item: item.velocity(noise(item), 0.7, rows[item]) for item in (one, other)}

    class Calling(Plain):
        def attention(self, event):
            assert torch.equal(other.velocity(noise(other), 0.7, rows[other]), plain[other])
            return super().attention(event)

    listener, inner = Calling(), Plain()
    with one.attach(listener), other.attach(inner):
        assert torch.equal(one.velocity(noise(one), 0.7, rows[one]), plain[one])
    assert len(listener.events) == 4
    assert len(inner.events) == 16


@pytest.mark.parametrize("kinds", [("flux", "sd3"), ("schnell", "flux")])
def test_two_threads_with_two_models(kinds):
    backbones = [build(kind) for kind in kinds]
    rows = [rows_of(backbone, "a cat", "a dog") for backbone in backbones]
    latents = [noise(backbone, 2) for backbone in backbones]
    wanted, results, barrier = [], {}, threading.Barrier(2)
    for backbone, latent, row in zip(backbones, latents, rows, strict=True):
        with backbone.attach(Steering()):
            wanted.append(backbone.velocity(latent, 0.7, row))

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(8):
            with backbones[number].attach(Steering()):
                results.setdefault(number, []).append(backbones[number].velocity(latents[number], 0.7, rows[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        assert len(results[number]) == 8
        for result in results[number]:
            torch.testing.assert_close(result, wanted[number], rtol=1e-5, atol=1e-5)


def test_a_site_that_does_not_attend_is_named():
    backbone = build("sd3")

    class Own:
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, *args, **kwargs):
            return hidden_states, encoder_hidden_states

    backbone.pipeline.transformer.transformer_blocks[1].attn.processor = Own()
    with (
        backbone.attach(Plain()),
        pytest.raises(IncompatibleError, match=r"0 times.*transformer_blocks\.1\.attn.*xformers"),
    ):
        backbone.velocity(noise(backbone), 0.7, rows_of(backbone, "a cat"))


@pytest.mark.parametrize("kind", ["flux", "sd3", "sd3.5-medium"])
@pytest.mark.parametrize("listener", [None, Plain])
def test_signatures_are_not_made_anew_within_a_call_and_not_left_behind(kind, listener, monkeypatch):
    """Attention layers ask for the signature of their processor at every call."""
    backbone = build(kind)
    rows, latents = rows_of(backbone, "a cat"), noise(backbone, 1)
    processors = {type(found.attention.processor) for found in backbone._tap._found}
    before = [inspect.signature(processor.__call__) for processor in processors]
    made, plain = [], inspect._signature_from_function
    monkeypatch.setattr(inspect, "_signature_from_function", lambda *args, **how: made.append(1) or plain(*args, **how))
    with nullcontext() if listener is None else backbone.attach(listener()):
        backbone.velocity(latents, 0.5, rows)
        made.clear()
        backbone.velocity(latents, 0.5, rows)
        assert not made
    assert all("__signature__" not in vars(processor.__call__) for processor in processors)
    assert [inspect.signature(processor.__call__) for processor in processors] == before


def test_a_function_carries_its_signature_within_the_context_and_never_after_it():
    def function(a, b=1):
        pass

    known = signatures_of([type("Processor", (), {"__call__": function})()])
    with signatures_known(known):
        with pytest.raises(KeyboardInterrupt), signatures_known(known):
            assert function.__signature__ == inspect.signature(function)
            raise KeyboardInterrupt
        assert list(inspect.signature(function).parameters) == ["a", "b"]
    assert "__signature__" not in vars(function)
    function.__signature__ = inspect.Signature()
    assert not signatures_of([type("Processor", (), {"__call__": function})()]), "one of its own is left alone"
