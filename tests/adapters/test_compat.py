"""Private API of PyTorch and diffusers: it is there, and means what adapters take it to mean."""

import diffusers
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers.hooks import HookRegistry, ModelHook, apply_group_offloading, apply_layerwise_casting
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from headrouter_diffusers import compat
from headrouter_diffusers.packing import pack, positions, unpack
from headrouter_diffusers.testing import tiny_flux, tiny_sd35
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MODELS = {"flux": tiny_flux, "sd3.5": tiny_sd35}


class Ours(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Theirs(Ours):
    pass


class Others(TorchFunctionMode):
    __torch_function__ = Ours.__torch_function__


def test_modes_of_others():
    assert not compat.modes_of_others(Ours)
    with torch.device("cpu"), Ours(), Theirs():
        assert not compat.modes_of_others(Ours)
        with Others(), Ours():
            assert compat.modes_of_others(Ours)
        assert not compat.modes_of_others(Ours)


def test_pre_hooks():
    module, asked = nn.Identity(), []
    keywords = lambda module, args, kwargs: asked.append((args, kwargs))  # noqa: E731
    plain = lambda module, args: asked.append(args)  # noqa: E731
    module.register_forward_pre_hook(keywords, with_kwargs=True)
    module.register_forward_pre_hook(plain)
    numbers = {hook: number for number, hook in compat.pre_hooks(module).items()}
    assert set(numbers) == {keywords, plain}
    compat.remove_pre_hook(module, numbers[keywords])
    compat.remove_pre_hook(module, numbers[keywords])
    module(1)
    assert list(compat.pre_hooks(module).values()) == [plain] and asked == [(1,)]
    module.register_forward_pre_hook(plain)
    assert all(value is not True for value in module._forward_pre_hooks_with_kwargs.values()), (
        "no flag is left for a later hook"
    )


def test_compiled_code():
    module, entered = nn.Identity(), []
    module.register_forward_pre_hook(lambda *_: entered.append(1))
    assert compat.compiled_code(module) is None
    module.compile(backend="eager")
    code = compat.compiled_code(module)
    assert callable(code)
    compat.set_compiled_code(module, lambda given: given + 1)
    assert module(1) == 2 and not entered, "it runs instead of hooks and forward"
    compat.set_compiled_code(module, code)
    assert compat.compiled_code(module) is code


def test_uncompiled():
    module = nn.Identity()
    assert compat.uncompiled(torch.compile(module, backend="eager")) is module
    module.compile(backend="eager")
    other = object()
    assert compat.uncompiled(module) is module and compat.uncompiled(other) is other


def attended(rows, tokens, heads, channels):
    return tuple(torch.randn(rows, tokens, heads, channels) for _ in range(3))


def test_attention_backends(monkeypatch):
    table, tensors = compat.attention_backends(), attended(2, 7, 3, 8)
    assert set(table) >= {AttentionBackendName.NATIVE, AttentionBackendName._NATIVE_MATH}
    monkeypatch.setitem(table, AttentionBackendName.NATIVE, lambda query, key, value, **others: query)
    assert dispatch_attention_fn(*tensors, backend=AttentionBackendName.NATIVE) is tensors[0], (
        "models call what is there"
    )


def test_the_default_backend_is_pytorchs_attention_and_nothing_else():
    table, tensors = compat.attention_backends(), attended(2, 7, 3, 8)
    default = [name for name, operation in table.items() if compat.is_default_backend(name, operation)]
    assert default == [AttentionBackendName.NATIVE]
    assert not compat.is_default_backend(AttentionBackendName.NATIVE, lambda **_: None)
    swapped = functional.scaled_dot_product_attention(*(tensor.transpose(1, 2) for tensor in tensors))
    query, key, value = tensors
    assert torch.equal(table[default[0]](query=query, key=key, value=value), swapped.transpose(1, 2))


@pytest.mark.parametrize("kind", MODELS)
def test_dispatches(kind, monkeypatch):
    """Whether the processors of a model call the table, held against whether they do."""
    pipeline, called, table = MODELS[kind](), [], compat.attention_backends()
    for name, operation in list(table.items()):
        counted = lambda *args, operation=operation, **kwargs: called.append(1) or operation(*args, **kwargs)  # noqa: E731
        monkeypatch.setitem(table, name, counted)
    kinds = {type(processor) for processor in pipeline.transformer.attn_processors.values()}
    pipeline("a cat", width=32, height=32, num_inference_steps=1, output_type="latent", max_sequence_length=24)
    assert {compat.dispatches(kind) for kind in kinds} == {bool(called)}


def test_is_parallel():
    model = tiny_flux().transformer
    assert type(model)._parallel_config is None and not compat.is_parallel(model)
    with pytest.raises(RuntimeError, match="distributed"):  # as there are no devices to spread it over
        model.enable_parallelism(config=diffusers.ContextParallelConfig(ring_degree=2))
    assert not compat.is_parallel(model)
    model._parallel_config = object()
    assert compat.is_parallel(model)


def test_hooks_of():
    module, hook = nn.Identity(), ModelHook()
    assert dict(compat.hooks_of(module)) == {}
    HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, "mine")
    assert dict(compat.hooks_of(module)) == {"mine": hook}


def names_of_hooks(model):
    return {name for module in model.modules() for name in compat.hooks_of(module)}


def test_hooks_that_move_or_convert_weights_are_harmless():
    model = tiny_flux().transformer
    apply_layerwise_casting(model, storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert names_of_hooks(model) and all(name.startswith(compat.HARMLESS_HOOKS) for name in names_of_hooks(model))
    model = tiny_flux().transformer
    apply_group_offloading(model, torch.device("cpu"), offload_type="leaf_level")
    assert "group_offloading" in names_of_hooks(model)
    assert all(name.startswith(compat.HARMLESS_HOOKS) for name in names_of_hooks(model))


def test_hooks_that_leave_attention_out_are_not():
    model = tiny_flux().transformer
    model.enable_cache(diffusers.FirstBlockCacheConfig())
    assert not any(name.startswith(compat.HARMLESS_HOOKS) for name in names_of_hooks(model)) and names_of_hooks(model)


def test_hooks_that_spread_a_sequence():
    model = tiny_flux().transformer
    diffusers.hooks.apply_context_parallel(model, diffusers.ContextParallelConfig(ring_degree=2), model._cp_plan)
    assert names_of_hooks(model) and all(name.startswith(compat.PARALLEL_HOOKS) for name in names_of_hooks(model))


def test_tensors_on_disk(tmp_path):
    """The files hold what the model had, by the identity of what stands for it."""
    from safetensors import safe_open

    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    apply_group_offloading(model, torch.device("cpu"), offload_type="leaf_level", offload_to_disk_path=str(tmp_path))
    kept = dict(compat.tensors_on_disk(model.modules()))
    for name, weight in model.named_parameters():
        path, key = kept[id(weight)] if id(weight) in kept else kept[id(weight.data)]
        with safe_open(path, framework="pt") as file:
            assert torch.equal(file.get_tensor(key), before[name])


def test_placement_of():
    module = nn.Linear(2, 2)
    bare = compat.placement_of(module)
    assert compat.placement_of(module) == bare
    add_hook_to_module(module, AlignDevicesHook(execution_device="cpu"))
    assert compat.placement_of(module) != bare
    remove_hook_from_module(module)
    assert compat.placement_of(module) == bare
    registry = HookRegistry.check_if_exists_or_initialize(module)
    assert compat.placement_of(module) == bare, "a list of hooks without any"
    registry.register_hook(ModelHook(), "a hook")
    assert compat.placement_of(module) != bare


def test_execution_device():
    pipeline = tiny_sd35()
    assert compat.execution_device(pipeline) == torch.device("cpu")
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            add_hook_to_module(part, AlignDevicesHook(execution_device=torch.device("meta")))
    assert compat.execution_device(pipeline) == torch.device("meta"), "where weights are brought to"
    (bare := tiny_sd35()).vae = nn.Identity()
    assert compat.execution_device(bare) == torch.device("cpu"), "a component need not have weights"


def test_dtype_of():
    model = tiny_flux().transformer
    assert compat.dtype_of(model) == model.dtype == torch.float32
    assert compat.dtype_of(model.to(torch.bfloat16)) == torch.bfloat16
    apply_layerwise_casting(model, storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    assert compat.dtype_of(model) == model.dtype == torch.bfloat16, "not what it is stored in"
    part = tiny_flux().vae.half()
    next(part.parameters()).data = next(part.parameters()).data.float()
    part._keep_in_fp32_modules = ["encoder"]
    assert compat.dtype_of(part) == part.dtype == torch.float16, "parts that stay float32 do not count"


def test_optional_components():
    assert compat.optional_components(diffusers.FluxPipeline) == {"image_encoder", "feature_extractor"}
    for pipeline in (tiny_flux(), tiny_sd35()):
        assert compat.optional_components(pipeline) == compat.optional_components(type(pipeline))
    without = dict.fromkeys(compat.optional_components(diffusers.FluxPipeline))
    assert diffusers.FluxPipeline(**{**tiny_flux().components, **without}).image_encoder is None
    assert compat.optional_components(object()) == frozenset()


def test_read_single_file(tmp_path):
    tensors = {"a": torch.randn(2, 3), "b": torch.randn(4).to(torch.bfloat16)}
    save_file(tensors, tmp_path / "some.safetensors")
    read = compat.read_single_file(str(tmp_path / "some.safetensors"))
    assert read.keys() == tensors.keys() and all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_released_model_of():
    """By tensors that the released files have, in the layout of their makers."""
    assert compat.released_model_of({"transformer_blocks.0.attn.to_q.weight": torch.zeros(1)}) is None
    marks = {
        "black-forest-labs/FLUX.1-schnell": {
            "double_blocks.0.img_attn.norm.key_norm.scale": (8,),
            "img_in.weight": (8, 64),
        },
        "stabilityai/stable-diffusion-3.5-medium": {
            "joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,),
            "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,),
            "joint_blocks.0.x_block.attn2.qkv.weight": (8,),
            "pos_embed": (1, 147456, 8),
        },
    }
    found = {
        name: compat.released_model_of({key: torch.empty(shape) for key, shape in keys.items()})
        for name, keys in marks.items()
    }
    assert found == {name: name for name in marks}


def test_tokens_of_flux_are_packed_as_its_pipeline_packs_them():
    latents, pipeline = torch.randn(2, 5, 6, 8), diffusers.FluxPipeline
    packed = pack(latents)
    assert torch.equal(packed, pipeline._pack_latents(latents, 2, 5, 6, 8)) and packed.is_contiguous()
    assert torch.equal(unpack(packed, 6, 8), latents)
    ids = pipeline._prepare_latent_image_ids(2, 3, 4, torch.device("cpu"), torch.bfloat16)
    assert torch.equal(positions(6, 8, latents.to(torch.bfloat16)), ids)
