"""Run fused kernels on a GPU in the place of plain operations that compute the same.

They are written in Triton, which is imported when the first of them runs, never on the CPU. The environment variable
``HEADROUTER_FUSED=0`` turns them off.
"""

import os
import warnings
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Final, ParamSpec, TypeVar

import torch
from torch import Tensor

from headrouter.errors import FusedKernelWarning

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")

SWITCH: Final = "HEADROUTER_FUSED"
_DTYPES: Final = frozenset({torch.float16, torch.bfloat16, torch.float32})
_refused: set[str] = set()
"""Targets that could not be compiled, or whose Triton is missing."""


def fused(target: str) -> Callable[[Callable[_Parameters, _Returned]], Callable[_Parameters, _Returned]]:
    """Return a decorator of a plain function: on a GPU the function ``module:name`` runs instead, by the same arguments.

    The first argument, a tensor, decides. Where the fused function fails, the plain one runs from then on, after a
    :class:`headrouter.errors.FusedKernelWarning`.
    """

    def decorate(plain: Callable[_Parameters, _Returned]) -> Callable[_Parameters, _Returned]:
        @wraps(plain)
        def run(*args: _Parameters.args, **given: _Parameters.kwargs) -> _Returned:
            first = args[0]
            assert isinstance(first, Tensor)
            if target not in _refused and fits(first):
                module, _, name = target.partition(":")
                try:
                    found: _Returned = getattr(import_module(module), name)(*args, **given)
                except torch.OutOfMemoryError:
                    raise
                except Exception as error:
                    _refused.add(target)
                    _warn(target, error)
                else:
                    return found
            return plain(*args, **given)

        return run

    return decorate


def fits(tensor: Tensor) -> bool:
    """Return whether fused kernels are for this tensor: on a GPU, in a common precision, without gradients, and not turned off."""
    on_gpu = tensor.device.type == "cuda" and tensor.dtype in _DTYPES and not tensor.requires_grad
    return on_gpu and os.environ.get(SWITCH) != "0"


def _warn(target: str, error: Exception) -> None:
    reason = (str(error).strip().splitlines() or [""])[0]
    warnings.warn(
        f"the fused kernel {target} cannot be used ({type(error).__name__}: {reason}). The plain operations run instead, which "
        f"compute the same and take longer. {SWITCH}=0 turns fused kernels off.",
        FusedKernelWarning,
        stacklevel=3,
    )
