"""Stand-in for an accelerator: tensors that say they are on a device ``far``, with their numbers on the CPU.

Whatever an accelerator would be waited for is counted: numbers that are read, and copies to or from the device that are not
``non_blocking``. PyTorch itself sends them here, as it would to CUDA: a list that indexes a tensor of this device becomes a copy.
The device is registered for the whole process, so this runs in a process of its own.
"""

import functools
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_READ: Final = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select"}
_INDEX: Final = {"aten::index", "aten::index_put_"}
"""Operations that read a mask, to find how much it selects."""
_COPY: Final = {"aten::_to_copy", "aten::copy_"}
_CPU: Final = torch.device("cpu")


class FarTensor(Tensor):
    """A tensor on the device; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "FarTensor":
        """Take numbers to the device."""
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.shape, device=torch.device("far:0"), **layout)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Read the numbers."""
        Far.waits.append("tolist")
        return self.held.tolist()


class Far(TorchDispatchMode):
    """Puts what is made on the device there, while it is entered; ``waits`` lists what it was waited for."""

    waits: list[str] = []  # noqa: RUF012

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return _run(func, args, kwargs or {})

    def __enter__(self) -> "Far":
        """Let PyTorch make tensors of numbers on the CPU first, and then copy them, as it does for CUDA."""
        self.before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *ended: Any) -> None:
        """Leave PyTorch as it was."""
        torch._C._set_only_lift_cpu_tensors(self.before)
        super().__exit__(*ended)


def move(module: Module) -> None:
    """Take the weights of a module to the device."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            part._parameters[name] = Parameter(FarTensor(weight.data), requires_grad=False)
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = FarTensor(buffer)


@functools.cache
def register() -> None:
    """Make the device known to PyTorch, and its memory like that of CUDA, which takes pinned memory while it computes."""
    from headrouter.sampling import noise

    _setup_privateuseone_for_python_backend("far")
    noise._PINNED = frozenset({"far"})
    Tensor.pin_memory = lambda self: self


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, writes = _named(func)
    seen: set[bool] = set()  # of each tensor that is not a single number, whether it is on the device
    plain, asked = _held(list(args), seen), kwargs.get("device")
    others = {key: _held(value, seen) for key, value in kwargs.items()}
    far = True in seen
    goes_far = far if asked is None else torch.device(asked).type == "far"
    if name in _COPY:
        ends = {
            isinstance(args[0], FarTensor),
            goes_far if name == "aten::_to_copy" else isinstance(args[1], FarTensor),
        }
        if len(ends) > 1 and not (kwargs.get("non_blocking") or (name == "aten::copy_" and True in args[2:])):
            Far.waits.append(name)
    elif far and (name in _READ or False in seen or (name in _INDEX and torch.bool in map(_dtype, plain[1]))):
        Far.waits.append(name)
    if asked is not None:
        others["device"] = _CPU
    found = func(*plain, **others)
    if writes and isinstance(args[0], FarTensor) and found is args[0].held:
        return args[0]
    return _far(found) if goes_far and name not in ("aten::_local_scalar_dense", "aten::equal") else found


@functools.cache
def _named(func: Any) -> tuple[str, bool]:
    return func.name().partition(".")[0], func._schema.is_mutable


def _dtype(tensor: Tensor | None) -> torch.dtype | None:
    return None if tensor is None else tensor.dtype


def _held(value: Any, seen: set[bool]) -> Any:
    """Return a value with its tensors on the CPU."""
    if isinstance(value, FarTensor):
        seen.add(True)
        return value.held
    if isinstance(value, Tensor) and value.ndim:
        seen.add(False)
    return [_held(one, seen) for one in value] if isinstance(value, list | tuple) else value


def _far(value: Any) -> Any:
    if isinstance(value, Tensor):
        return FarTensor(value)
    return type(value)(map(_far, value)) if isinstance(value, list | tuple) else value
