"""Hold every use of the private API of PyTorch and diffusers by adapters. Each function says what would take its place.

No other module of an adapter names a private thing of theirs; tests/adapters/test_compat.py holds each of these to what is expected
of it, and so says which versions will do.
"""

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import single_file_utils
from diffusers.models import ModelMixin, attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry, _native_attention
from torch import Tensor
from torch.nn import Module
from torch.nn.attention import SDPBackend
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from headrouter.compat import first_weight, modules_within

HARMLESS_HOOKS: Final = (
    "group_offloading",
    "layer_execution_tracker",
    "lazy_",
    "layerwise_casting",
    "peft_autocast_disable",
)
"""What the names of diffusers' hooks begin with that move or convert weights, and leave attention as it is.

Instead: refuse every model that has a hook.
"""
PARALLEL_HOOKS: Final = "cp_"
"""What the names of diffusers' hooks begin with that spread a sequence over devices. Instead: as :data:`HARMLESS_HOOKS`."""


def modes_of_others(ours: type) -> bool:
    """Return whether a function mode that is neither ``ours`` nor ``with torch.device`` may see what PyTorch is asked.

    Such a mode may put another kernel in the place of PyTorch's. Instead: take every kernel for a foreign one.
    """
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return any(not isinstance(mode, (ours, DeviceContext)) for mode in modes)


def pre_hooks(module: Module) -> dict[int, Callable[..., Any]]:
    """Return the hooks before ``forward``, by number.

    An interrupt may come between registering a hook and keeping its handle, so ours are looked for in the module. Instead: the
    handles that ``register_forward_pre_hook`` returns.
    """
    return dict(module._forward_pre_hooks)


def remove_pre_hook(module: Module, number: int) -> None:
    """Remove a hook by its number; twice does no harm. As :func:`pre_hooks`."""
    module._forward_pre_hooks_with_kwargs.pop(number, None)
    module._forward_pre_hooks.pop(number, None)  # last, for by it the rest is found


def compiled_code(module: Module) -> Callable[..., Any] | None:
    """Return what ``module.compile()`` made of a module, which runs in the place of its ``forward``, hooks included.

    Instead: refuse models that are compiled.
    """
    code: Callable[..., Any] | None = module._compiled_call_impl
    return code


def set_compiled_code(module: Module, code: Callable[..., Any]) -> None:
    """Let a compiled module run other code; see :func:`compiled_code`."""
    module._compiled_call_impl = code


def uncompiled(part: Any) -> Any:
    """Return the module within what ``torch.compile(module)`` returned; anything else as it is.

    Instead: refuse what is an instance of ``torch._dynamo.OptimizedModule``.
    """
    return getattr(part, "_orig_mod", part)


def attention_backends() -> dict[Any, Callable[..., Tensor]]:
    """Return diffusers' table of attention backends, by name; changing it changes what models call.

    Instead: ``diffusers.models.attention_dispatch.dispatch_attention_fn``, replaced in each module that imported it.
    """
    backends: dict[Any, Callable[..., Tensor]] = _AttentionBackendRegistry._backends
    return backends


def is_default_backend(name: Any, operation: Callable[..., Tensor]) -> bool:
    """Return whether an entry of that table is diffusers' own call of PyTorch's attention and nothing else.

    Only then the kernel is the one that PyTorch chooses. Instead: compare an entry's output with PyTorch's.
    """
    return bool(name == AttentionBackendName.NATIVE and operation is _native_attention)


PYTORCHS_KERNELS: Final = {
    "_native_flash": SDPBackend.FLASH_ATTENTION,
    "_native_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "_native_cudnn": SDPBackend.CUDNN_ATTENTION,
}
"""The backends of that table that let PyTorch choose one of its kernels only. Instead: none; as :func:`gives_log_sum_exp`."""

_LOG_SUM_EXP: Final = {
    "flash": ("_flash_attention", "return_lse", False),
    "flash_hub": ("_flash_attention_hub", "return_lse", False),
    "_flash_3": ("_flash_attention_3", "return_lse", True),
    "_flash_3_hub": ("_flash_attention_3_hub", "return_attn_probs", False),
}


def kernel_of_pytorch(name: Any, operation: Callable[..., Tensor]) -> SDPBackend | None:
    """Return the one kernel of PyTorch's that an entry of that table allows, None for any other entry.

    Instead: nothing public says so; without it the log-sum-exp comes from a second, chunked pass.
    """
    own = getattr(attention_dispatch, f"{getattr(name, 'value', name)}_attention", None)
    return PYTORCHS_KERNELS.get(getattr(name, "value", name)) if operation is own else None


def gives_log_sum_exp(name: Any, operation: Callable[..., Any]) -> tuple[str, bool] | None:
    """Return the keyword by which an entry of that table gives the log-sum-exp, None if it has none.

    And whether that comes as ``[rows, tokens, heads]``, not ``[rows, heads, tokens]``. Kernels that round query and key to 8 bits
    give one of other logits, and are left out. Instead: as :func:`kernel_of_pytorch`.
    """
    function, keyword, tokens_first = _LOG_SUM_EXP.get(getattr(name, "value", name), ("", "", False))
    own = getattr(attention_dispatch, function, None) if function else None
    if own is None or operation is not own or keyword not in inspect.signature(operation).parameters:
        return None
    return keyword, tokens_first


def dispatches(processor: type) -> bool:
    """Return whether a class of attention processors calls the table of backends and not PyTorch's attention.

    Instead: intercept both, the outer one first.
    """
    return hasattr(processor, "_attention_backend")


def is_parallel(part: Any) -> bool:
    """Return whether diffusers spreads a model over devices. Instead: refuse where ``torch.distributed`` is initialised."""
    return getattr(part, "_parallel_config", None) is not None


def version_of(tensor: Tensor) -> int:
    """Return a number that grows with each change of a tensor in place, unless it is made through ``.data``.

    Instead: compare with a copy.
    """
    return tensor._version


def hooks_of(module: Module) -> Mapping[str, Any]:
    """Return diffusers' hooks of a module by name: caches, skipped layers, offloading, parallelism.

    Instead: nothing public lists them; a forward pass that attends too often or too seldom is refused as well.
    """
    registry: Any = vars(module).get("_diffusers_hook")
    return getattr(registry, "hooks", {})


def tensors_on_disk(modules: Iterable[Module]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield file and key of each tensor that group offloading keeps in a file, by its stand-in.

    Instead: move the model to the CPU before its weights are read.
    """
    for module in modules:
        if "_diffusers_hook" not in vars(module):
            continue
        group: Any = getattr(hooks_of(module).get("group_offloading"), "group", None)
        if getattr(group, "offload_to_disk_path", None):
            for tensor, key in group.tensor_to_key.items():
                yield id(tensor), (group.safetensors_file_path, key)


_EXECUTION_DEVICE: Final = DiffusionPipeline._execution_device


def placement_of(module: Module) -> tuple[object, ...]:
    """Return what differs when a module is given hooks that move weights, accelerate's or diffusers', or loses them.

    Instead: ask :func:`execution_device` at every call, which walks over all modules.
    """
    return id(vars(module).get("_hf_hook")), *hooks_of(module)


def _is_hooked(module: Module) -> bool:
    """Return whether accelerate or diffusers hook into a module; as :func:`hooks_of`.

    An empty list of hooks, as diffusers leaves it on models, counts as none.
    """
    attributes = vars(module)
    return "_hf_hook" in attributes or ("_diffusers_hook" in attributes and bool(hooks_of(module)))


def execution_device(pipeline: Any) -> torch.device:
    """Return where a pipeline computes: with offloading, where weights are brought to.

    Where no module of it has a hook and all weights lie on one device, that is found in one walk instead of one for each component
    and kind of hook. Instead: the ``execution_device`` of accelerate's hooks, or the device of the weights.
    """
    if type(pipeline)._execution_device is _EXECUTION_DEVICE:
        models = [part for part in pipeline.components.values() if isinstance(part, Module)]
        if not any(_is_hooked(module) for model in models for module in modules_within(model)):
            first = (itertools.islice(itertools.chain(model.parameters(), model.buffers()), 1) for model in models)
            devices = {tensor.device for tensor in itertools.chain.from_iterable(first)}
            if len(devices) == 1:
                return devices.pop()
    return torch.device(pipeline._execution_device)


_DTYPE: Final = ModelMixin.dtype


def dtype_of(model: Any) -> torch.dtype:
    """Return the number type that a model of diffusers computes in, as its ``dtype`` does.

    Where it has no hook that converts weights, and keeps no part of itself in float32, that is the type of its first weight with a
    point, found without the names of all modules. Instead: ``model.dtype``.
    """
    if type(model).dtype is _DTYPE and not model._keep_in_fp32_modules:
        hooked = any(map(hooks_of, modules_within(model)))
        first = first_weight(model)
        if not hooked and first is not None and first.is_floating_point():
            return first.dtype
    dtype: torch.dtype = model.dtype
    return dtype


def optional_components(pipeline: Any) -> frozenset[str]:
    """Return what a pipeline, or a class of pipelines, can do without.

    Instead: the components whose parameter of the constructor has a default.
    """
    return frozenset(getattr(pipeline, "_optional_components", ()))


def read_single_file(file: str) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .gguf file. Instead: safetensors' and gguf's own readers."""
    checkpoint: dict[str, Tensor] = single_file_utils.load_single_file_checkpoint(file, local_files_only=True)
    return checkpoint


def released_model_of(checkpoint: Mapping[str, Tensor]) -> str | None:
    """Return the hub id of the released model that a single file looks like, None where diffusers does not recognise it.

    Instead: ask the user for ``base``.
    """
    kind = single_file_utils.infer_diffusers_model_type(checkpoint)
    if kind == "v1":  # which diffusers says of all that it does not recognise, its own layout among it
        return None
    name: str = single_file_utils.DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]
    return name
