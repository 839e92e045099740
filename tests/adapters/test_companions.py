"""What people put on their models: it comes along, or is refused by name."""

import pytest
import torch
from diffusers import ContextParallelConfig, FluxImg2ImgPipeline, FluxPipeline, hooks
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from headrouter_diffusers.attention.refusals import refuse_unsteerable
from headrouter_diffusers.testing import tiny_flux, tiny_sd3, tiny_sd35
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from peft import LoraConfig

from headrouter.errors import IncompatibleError, InvalidInputError

from .conftest import Plain, Steering, noise, rows_of
from .test_tap import state

PIPELINES = {"flux": tiny_flux, "sd3": tiny_sd3, "sd3.5-medium": tiny_sd35}


def load(kind, pipeline):
    return (FluxParameters if kind == "flux" else SD3Parameters)().load("tiny", pipeline)


def lora(pipeline):
    torch.manual_seed(0)
    targets = ["to_q", "to_v", "add_k_proj"]
    pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=targets, init_lora_weights=False))


def half_a_lora(pipeline):
    lora(pipeline)
    pipeline.transformer.set_adapters(["default"], [0.5])


def fused(pipeline):
    pipeline.transformer.fuse_qkv_projections()


def math_backend(pipeline):
    pipeline.transformer.set_attention_backend("_native_math")


def checkpointing(pipeline):
    pipeline.transformer.enable_gradient_checkpointing()


def layerwise_casting(pipeline):
    pipeline.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)


def model_offload(pipeline):
    pipeline.enable_model_cpu_offload(device="cpu")


def group_offload(pipeline):
    pipeline.enable_group_offload(torch.device("cpu"), offload_type="leaf_level")


def half(pipeline):
    pipeline.to(torch.bfloat16)


COMPANIONS = (
    lora,
    half_a_lora,
    fused,
    math_backend,
    checkpointing,
    layerwise_casting,
    model_offload,
    group_offload,
    half,
)


@pytest.fixture(autouse=True)
def _own_backend():
    """Choosing an attention backend for a model also chooses it for the process."""
    active = _AttentionBackendRegistry._active_backend
    yield
    _AttentionBackendRegistry._active_backend = active


@pytest.mark.parametrize("companion", COMPANIONS, ids=lambda companion: companion.__name__)
@pytest.mark.parametrize("kind", PIPELINES)
def test_it_comes_along(kind, companion):
    if companion is fused and kind == "sd3.5-medium":
        pytest.skip("diffusers itself cannot run dual attention with fused projections")
    pipeline = PIPELINES[kind]()
    bare = load(kind, pipeline)
    rows, latents = rows_of(bare, "a cat", "a dog"), noise(bare, 2)
    without = bare.velocity(latents, 0.7, rows)
    companion(pipeline)
    backbone = load(kind, pipeline)
    rows = rows_of(backbone, "a cat", "a dog")
    plain, before = backbone.velocity(latents, 0.7, rows), state(pipeline.transformer)
    assert plain.dtype == torch.float32
    assert plain.isfinite().all()
    if companion in (lora, half_a_lora, half, layerwise_casting):
        assert not torch.equal(plain, without), "the companion acts"
    else:
        torch.testing.assert_close(plain, without, rtol=1e-4, atol=1e-4)
    listener = Plain()
    with backbone.attach(listener):
        assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)
    assert [event.site for event in listener.events] == list(backbone.sites)
    with backbone.attach(Steering()):
        steered = backbone.velocity(latents, 0.7, rows)
    assert (steered - plain).norm() > 1e-3 * plain.norm()
    assert state(pipeline.transformer) == before
    assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)
    if companion is math_backend and kind == "flux":
        assert not any(event._native for event in listener.events), "its kernel is the user's, not PyTorch's default"


def test_torchao_weights_come_along():
    quantization = pytest.importorskip("torchao.quantization")
    pipeline = tiny_sd3()
    backbone = load("sd3", pipeline)
    rows, latents = rows_of(backbone, "a cat"), noise(backbone)
    exact = backbone.velocity(latents, 0.7, rows)
    quantization.quantize_(pipeline.transformer.transformer_blocks, quantization.Int8WeightOnlyConfig())
    plain = backbone.velocity(latents, 0.7, rows)
    assert 0 < (plain - exact).norm() < 0.1 * exact.norm()
    with backbone.attach(Plain()):
        assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)


def refused(kind, pipeline, match):
    with pytest.raises(IncompatibleError, match=match):
        load(kind, pipeline)


CACHES = {
    "first block": lambda: hooks.FirstBlockCacheConfig(threshold=0.1),
    "TaylorSeer": hooks.TaylorSeerCacheConfig,
    "MagCache": lambda: hooks.MagCacheConfig(num_inference_steps=4, mag_ratios=torch.ones(4)),
    "SeaCache": hooks.SeaCacheConfig,
    "text keys and values": hooks.TextKVCacheConfig,
    "FasterCache": lambda: hooks.FasterCacheConfig(
        spatial_attention_block_skip_range=2,
        attention_weight_callback=lambda _: 0.5,
        tensor_format="BCHW",
        current_timestep_callback=lambda: 0,
    ),
    "pyramid attention broadcast": lambda: hooks.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    ),
}


def apply(cache, model):
    """diffusers' own function for this cache, which models need that have no ``enable_cache``."""
    configuration = CACHES[cache]()
    name = {
        "FirstBlockCacheConfig": "apply_first_block_cache",
        "TaylorSeerCacheConfig": "apply_taylorseer_cache",
        "MagCacheConfig": "apply_mag_cache",
        "SeaCacheConfig": "apply_sea_cache",
        "TextKVCacheConfig": "apply_text_kv_cache",
        "FasterCacheConfig": "apply_faster_cache",
        "PyramidAttentionBroadcastConfig": "apply_pyramid_attention_broadcast",
    }[type(configuration).__name__]
    getattr(hooks, name)(model, configuration)


def test_every_cache_of_diffusers_is_tried():
    assert {type(make()).__name__ for make in CACHES.values()} == {
        name
        for name in vars(hooks)
        if name.endswith("CacheConfig") or ("Broadcast" in name and name.endswith("Config"))
    }


@pytest.mark.parametrize("cache", CACHES)
def test_feature_caches_are_refused(cache):
    pipeline = tiny_flux()
    backbone = load("flux", pipeline)
    pipeline.transformer.enable_cache(CACHES[cache]())
    refused("flux", pipeline, "disable_cache")
    with pytest.raises(IncompatibleError, match=r"disable_cache"), backbone.attach(Plain()):
        pass
    pipeline.transformer.disable_cache()
    with backbone.attach(Plain()):
        pass
    other = tiny_sd3()
    apply(cache, other.transformer)
    refused("sd3", other, "carries the hook '.*'.*Feature caches")


def test_skipped_layers_are_refused():
    pipeline = tiny_sd3()
    hooks.apply_layer_skip(pipeline.transformer, hooks.LayerSkipConfig(indices=[0], fqn="transformer_blocks"))
    refused("sd3", pipeline, "layer_skip.*skipped layers")


def test_compiled_models_other_than_by_blocks_are_refused():
    pipeline = tiny_flux()
    pipeline.transformer.transformer_blocks[1].attn.compile(backend="eager")
    refused("flux", pipeline, r"at transformer_blocks\.1\.attn is compiled.*only whole blocks")
    pipeline = tiny_flux()
    pipeline.transformer.compile(backend="eager")
    refused("flux", pipeline, r"Model is compiled with torch\.compile.*compile_repeated_blocks")
    pipeline = tiny_sd3()
    pipeline.transformer.transformer_blocks[1] = torch.compile(
        pipeline.transformer.transformer_blocks[1], backend="eager"
    )
    refused("sd3", pipeline, r"at transformer_blocks\.1 is compiled")
    pipeline = tiny_sd3()
    pipeline.transformer = torch.compile(pipeline.transformer, backend="eager")
    refused("sd3", pipeline, r"is compiled with torch\.compile")


def test_parallel_models_are_refused():
    pipeline = tiny_flux()
    pipeline.transformer._parallel_config = object()
    refused("flux", pipeline, "parallel over devices")
    model = tiny_flux().transformer
    hooks.apply_context_parallel(model, ContextParallelConfig(ring_degree=2), model._cp_plan)
    with pytest.raises(IncompatibleError, match="parallel over devices"):
        refuse_unsteerable(model)


def test_an_image_prompts_attention_is_passed_by():
    """A second operation at a site, over keys of another length, is no event."""
    pipeline = tiny_sd3()
    backbone, listener = load("sd3", pipeline), Plain()
    processor = type(pipeline.transformer.transformer_blocks[0].attn.processor)

    class WithImagePrompt(processor):
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, **kwargs):
            image, text = super().__call__(attn, hidden_states, encoder_hidden_states, **kwargs)
            side = hidden_states[:, None]
            return image + torch.nn.functional.scaled_dot_product_attention(side, side[:, :, :5], side[:, :, :5])[
                :, 0
            ], text

    pipeline.transformer.set_attn_processor(WithImagePrompt())
    rows, latents = rows_of(backbone, "a cat"), noise(backbone)
    plain = backbone.velocity(latents, 0.7, rows)
    with backbone.attach(listener):
        assert torch.equal(backbone.velocity(latents, 0.7, rows), plain)
    assert len(listener.events) == 3


def test_a_given_pipeline_of_another_class():
    with pytest.raises(IncompatibleError, match=r"StableDiffusion3Pipeline, and backbone 'flux' drives FluxPipeline"):
        FluxParameters().load("tiny", tiny_sd3())
    flux = tiny_flux()
    other = FluxImg2ImgPipeline(**flux.components)
    with pytest.raises(IncompatibleError, match=r"FluxPipeline\.from_pipe"):
        FluxParameters().load("tiny", other)
    FluxParameters().load("tiny", FluxPipeline.from_pipe(other))
    with pytest.raises(IncompatibleError, match=r"is a str, and backbone 'flux' drives FluxPipeline\. Give a FluxPipe"):
        FluxParameters().load("tiny", "a path")


@pytest.mark.parametrize("argument", [{"device": "cpu"}, {"dtype": "bfloat16"}, {"offload": "model"}, {"t5": False}])
def test_a_given_pipeline_is_not_placed(argument):
    with pytest.raises(InvalidInputError, match=f"`{next(iter(argument))}`.*already loaded"):
        SD3Parameters(**argument).load("tiny", tiny_sd3())


def test_embedded_guidance_needs_a_model_made_for_it():
    with pytest.raises(IncompatibleError, match="guidance_kind"):
        FluxParameters(guidance_kind="embedded").load("tiny", tiny_flux(guidance_embeds=False))
