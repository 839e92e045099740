"""Tell where PyTorch's inference mode is safe: where only the transformer's own code sees the tensors of a call.

In inference mode tensors have no version counters, and views no record of their base: a call of a small model, whose operations
take microseconds, takes 5 % less time with one row and 2 % with four. Such a tensor can never take part in gradients or be changed
in place outside of the mode, so no code that could keep one may see it: listeners run outside, and results are copied.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch.nn import Module, Parameter

from headrouter.attention.kernels import attention_is_replaced
from headrouter.compat import hooks_of, modules_within, own_weights
from headrouter_diffusers import compat

_KNOWN = ("torch.nn.", "diffusers.", "headrouter_diffusers.")
"""Where the code of a plain transformer comes from: others, such as adapters and quantised layers, may keep tensors."""


def is_unseen(transformer: Module) -> bool:
    """Return whether only code of PyTorch, diffusers and this package runs in a call: no hooks, adapters, compiled code.

    Nor a ``forward`` that took the place of a module's or of its class's, as feature caches put theirs, or another attention kernel
    in the place of PyTorch's.
    """
    modules = modules_within(transformer)
    processors = {type(vars(module)["processor"]) for module in modules if "processor" in vars(module)}
    kinds = {type(module) for module in modules}
    return (
        not attention_is_replaced()
        and all(kind.__module__.startswith(_KNOWN) for kind in kinds | processors)
        and all(kind.forward.__module__.startswith(_KNOWN) for kind in kinds)
        and all(map(_is_plain, modules))
    )


def _is_plain(module: Module) -> bool:
    """Return whether a module is as its class makes it: its code, its weights, and no hooks of others."""
    return (
        "forward" not in vars(module)
        and compat.compiled_code(module) is None
        and all(type(weight) is Parameter for weight in own_weights(module))
        and all(
            type(hook).__module__.startswith(_KNOWN) for hooks in hooks_of(module).values() for hook in hooks.values()
        )
    )


def inference(wanted: bool) -> AbstractContextManager[object]:
    """Return a context in inference mode, or where it is not ``wanted`` one that changes nothing."""
    return torch.inference_mode() if wanted else nullcontext()


@contextmanager
def ordinary() -> Iterator[None]:
    """Make ordinary tensors within inference mode; leaving the mode alone would turn gradients on."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield
