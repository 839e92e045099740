"""Blocks compiled with torch.compile: steered as the uncompiled ones, heard as often, and traced no more than once.

Traced into one graph with ``fullgraph``, so a break of the graph is an error, and run without code generation, which
takes minutes on a CPU and is not what the tap has a part in.
"""

import pytest
import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from headrouter_auraflow.testing import subjects as auraflow_subjects
from headrouter_diffusers.attention import compiled
from headrouter_diffusers.testing import tiny_flux, tiny_sd35
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from torch._dynamo.utils import counters

from headrouter.errors import IncompatibleError

from .conftest import ImageOnly, Plain, Steering, noise, rows_of
from .test_tap import state


def build(kind):
    if kind == "auraflow":
        return auraflow_subjects()[0].build()
    return FluxParameters().load("tiny", tiny_flux()) if kind == "flux" else SD3Parameters().load("tiny", tiny_sd35())


def compile_blocks(backbone, **options):
    for path in {site.path.rpartition(".")[0] for site in backbone.sites}:
        backbone.pipeline.transformer.get_submodule(path).compile(backend="aot_eager", **options)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("tokens_first", [False, True], ids=["heads first", "tokens first"])
@pytest.mark.parametrize("table", [False, True], ids=["PyTorch", "table"])
def test_the_output_stays_where_a_fused_kernel_wrote_it(tokens_first, table):
    """No byte is copied, and where tokens come first joining the heads is a view."""
    written = []

    def kernel(query, key, value):
        swapped = [one.transpose(1, 2) for one in (query, key, value)]
        plain = torch.nn.functional.scaled_dot_product_attention
        written.append(dispatch_attention_fn(*swapped).transpose(1, 2) if table else plain(query, key, value))
        return written[-1]

    made = torch.randn(3, 2, 24, 4, 16).transpose(2, 3) if tokens_first else torch.randn(3, 2, 4, 24, 16)
    tensors, number = made.unbind(0), compiled.numbered(kernel, frozenset(), native=False)
    output = compiled.attention(*tensors, number)
    assert output.data_ptr() == written[0].data_ptr()
    assert (output.transpose(1, 2).flatten(2).data_ptr() == output.data_ptr()) == tokens_first
    torch.library.opcheck(compiled.attention, (*tensors, number), test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("case", ["other strides", "an input", "part of an input"])
def test_an_output_that_breaks_the_promise_is_copied(case):
    def kernel(query, key, value):
        if case == "other strides":
            return (query + value).contiguous()
        return value if case == "an input" else value[:1].expand_as(value)

    tensors = torch.randn(3, 2, 24, 4, 16).transpose(2, 3).unbind(0)
    number = compiled.numbered(kernel, frozenset(), native=False)
    output = compiled.attention(*tensors, number)
    assert torch.equal(output, kernel(*tensors)) and output.stride() == tensors[0].stride()
    assert all(output.untyped_storage().data_ptr() != one.untyped_storage().data_ptr() for one in tensors)


@pytest.mark.parametrize("kind", ["flux", "sd3.5-medium", "auraflow"])
def test_compiled_blocks_are_steered(kind):
    backbone = build(kind)
    rows, latents, model = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2), backbone.pipeline.transformer
    listener = Steering()
    with backbone.attach(listener):
        eager = backbone.velocity(latents, 0.7, rows)
    plain_eager = backbone.velocity(latents, 0.7, rows)
    compile_blocks(backbone, fullgraph=True)
    assert backbone.device.type == "cpu"  # what a run asks first
    plain, before = backbone.velocity(latents, 0.7, rows), state(model)
    codes = [vars(module).get("_compiled_call_impl") for module in model.modules()]
    torch.testing.assert_close(plain, plain_eager, rtol=1e-5, atol=1e-5)
    graphs = [counters["stats"]["unique_graphs"]]
    heard = Plain()
    with backbone.attach(heard):
        torch.testing.assert_close(backbone.velocity(latents, 0.7, rows), plain, rtol=1e-6, atol=1e-6)
    assert [event.site for event in heard.events] == list(backbone.sites)
    assert [stream.site for stream in heard.streams] == list(backbone.sites)
    for _ in range(2):
        steering = Steering()
        with backbone.attach(steering):
            steered = backbone.velocity(latents, 0.7, rows)
        torch.testing.assert_close(steered, eager, rtol=1e-5, atol=1e-5)
        assert len(steering.events) == len(listener.events)
        assert len(steering.streams) == len(listener.streams)
        graphs.append(counters["stats"]["unique_graphs"])
    assert (steered - plain).norm() > 1e-3 * plain.norm()
    assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)
    graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == graphs[:1] * 4, "a listener needs no other graph, before or after it"
    assert not counters["graph_break"]
    assert state(model) == before
    assert [vars(module).get("_compiled_call_impl") for module in model.modules()] == codes


def test_attention_of_image_tokens_alone_is_steered_in_compiled_blocks():
    backbone, eager, heard = build("sd3.5-medium"), ImageOnly(2.0), ImageOnly(2.0)
    rows, latents = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2)
    with backbone.attach(eager):
        expected = backbone.velocity(latents, 0.7, rows)
    compile_blocks(backbone, fullgraph=True)
    with backbone.attach(heard):
        torch.testing.assert_close(backbone.velocity(latents, 0.7, rows), expected, rtol=1e-5, atol=1e-5)
    assert [event.site for event in heard.alone] == [event.site for event in eager.alone] == list(backbone.image_sites)
    assert [event.site for event in heard.events] == list(backbone.sites)


def test_a_compiled_model_is_unsteered_outside_of_velocity_and_after_a_failure():
    class Failing(Steering):
        def attention(self, event):
            if event.site.index == 1:
                raise IncompatibleError("no")
            return super().attention(event)

    backbone = build("sd3.5-medium")
    compile_blocks(backbone, fullgraph=True)
    rows, latents, listener = rows_of(backbone, "a cat"), noise(backbone), Steering()
    heard = []
    hook = backbone.pipeline.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: heard.append((args, kwargs)), with_kwargs=True
    )
    plain = backbone.velocity(latents, 0.7, rows)
    hook.remove()
    ((args, kwargs),) = heard
    with torch.no_grad():
        alone = backbone.pipeline.transformer(*args, **kwargs)[0]
        with backbone.attach(listener):
            assert torch.equal(backbone.pipeline.transformer(*args, **kwargs)[0], alone)
    assert not listener.events
    with pytest.raises(IncompatibleError, match=r"^no$"), backbone.attach(Failing()):
        backbone.velocity(latents, 0.7, rows)
    assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)


def test_kernels_that_the_user_chose_run_in_compiled_blocks():
    backbone = build("flux")
    rows, latents = rows_of(backbone, "a cat"), noise(backbone)
    for module in backbone.pipeline.transformer.modules():
        if hasattr(module, "processor"):
            module.processor._attention_backend = "_native_math"
    plain = backbone.velocity(latents, 0.7, rows)
    compile_blocks(backbone)
    listener = Plain()
    with backbone.attach(listener):
        torch.testing.assert_close(backbone.velocity(latents, 0.7, rows), plain, rtol=1e-5, atol=1e-5)
    assert len(listener.events) == len(backbone.sites)
    assert not any(event._native for event in listener.events)
