"""Refuse, by name, models in a state in which attention cannot be steered exactly."""

from torch.nn import Module

from headrouter.errors import IncompatibleError
from headrouter_diffusers import compat

_PARALLEL = "{} runs in parallel over devices, so that no device sees the whole attention. Load it on one device."


def refuse_unsteerable(model: Module) -> None:
    """Check that each attention of ``model`` will run, within reach of the tap, on the whole sequence.

    Raises:
        IncompatibleError: something else than whole blocks is compiled, or the model caches features between steps, or
            spreads a sequence over devices.
    """
    name = type(model).__name__
    for path, module in model.named_modules():
        blocks = compat.compiled_code(module) is None or _holds_attention(module)
        if compat.uncompiled(module) is not module or not blocks:
            raise IncompatibleError(
                f"{_place(name, path)} is compiled with torch.compile, and only whole blocks can be compiled and"
                " steered. Load the model anew and call `compile()` on each of its blocks, which is what"
                " `transformer.compile_repeated_blocks()` does."
            )
        for hook in compat.hooks_of(module):
            if hook.startswith(compat.PARALLEL_HOOKS):
                raise IncompatibleError(_PARALLEL.format(_place(name, path)))
            if not hook.startswith(compat.HARMLESS_HOOKS):
                raise IncompatibleError(
                    f"{_place(name, path)} carries the hook {hook!r}. Feature caches and skipped layers leave out"
                    " attention that is to be steered; disable them, for a cache with `transformer.disable_cache()`."
                )
    if getattr(model, "is_cache_enabled", False):
        raise IncompatibleError(
            f"{name} has a feature cache, which skips attention that is to be steered. Call"
            " `transformer.disable_cache()`."
        )
    if compat.is_parallel(model):
        raise IncompatibleError(_PARALLEL.format(name))


def _holds_attention(module: Module) -> bool:
    return any(hasattr(child, "processor") for child in module.children())


def _place(name: str, path: str) -> str:
    return f"{name} at {path}" if path else name
