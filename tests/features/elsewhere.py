"""A device that is not the CPU, without one: its tensors keep their numbers in main memory, and refuse what a GPU's refuse.

Tensors of two devices do not mix, but for single numbers from the CPU; NumPy takes none of them; a generator of the CPU draws none.
Where a GPU would be waited for, for a number or a copy, is counted.
"""

import re
import sys
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("elsewhere")
ELSEWHERE = torch.device("elsewhere", 0)
_aten = torch.ops.aten
_READS = {_aten._local_scalar_dense.default, _aten.equal.default, _aten.nonzero.default, _aten.is_nonzero.default}
_MOVES = {_aten._to_copy.default, _aten.copy_.default, _aten.to.device, _aten.to.dtype_layout}
_OURS = re.compile(r"/((?:headrouter|adapters|inversions|plugins)/.*)")
_INDEXES = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}


class Far(torch.Tensor):
    """A tensor elsewhere."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor, *, requires_grad: bool = False) -> "Far":
        return torch.Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            layout=near.layout,
            device=ELSEWHERE,
            requires_grad=requires_grad,
        )

    def __init__(self, near: torch.Tensor, *, requires_grad: bool = False):
        self.near = near

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Far({self.near!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with Elsewhere():
            return function(*args, **(kwargs or {}))


class Elsewhere(TorchDispatchMode):
    """Computes with such tensors, and makes them where a device is named.

    Attributes:
        waits: How often a GPU would have been waited for, by the line of our code: numbers that are read, and copies either way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def _wait(self) -> None:
        frame: Any = sys._getframe()
        while frame is not None and not _OURS.search(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is not None:
            self.waits[f"{_OURS.search(frame.f_code.co_filename)[1]}:{frame.f_lineno}"] += 1

    def __enter__(self) -> "Elsewhere":
        self._lifts = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(
            True
        )  # so that ``torch.tensor(..., device=...)`` comes by here, as with FakeTensorMode
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._lifts)
        super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        named = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        far = any(isinstance(one, Far) for one in tensors)
        moved = function in _MOVES
        if far and not moved:
            self._refuse_mixed(function, args, tensors)
            if named is not None and named.type == "cpu" and "_like" not in str(function):
                moved = True
        if function in _READS and far:
            self._wait()
        goes_far = named.type == ELSEWHERE.type if named is not None else far
        if function is _aten.copy_.default:
            goes_far = isinstance(args[0], Far)
        if named is not None and named.type == ELSEWHERE.type:
            kwargs["device"] = torch.device("cpu")
        if moved and tensors and goes_far != isinstance(tensors[-1], Far):
            self._wait()
        if kwargs.get("generator") is not None and goes_far:
            raise RuntimeError(f"{function} draws elsewhere with a generator of the CPU")
        found = function(*tree_map(_near, args), **tree_map(_near, kwargs))
        if not goes_far:
            return found
        return _wrapped(function, args, kwargs, found)

    def _refuse_mixed(self, function: Any, args: Any, tensors: list[torch.Tensor]) -> None:
        if function in _INDEXES:  # indices may come from the CPU, which a GPU waits for
            tensors = [one for one in (args[0], *args[2:3]) if isinstance(one, torch.Tensor)]
            if any(isinstance(one, torch.Tensor) and not isinstance(one, Far) for one in args[1]):
                self._wait()
        mixed = [one for one in tensors if not isinstance(one, Far) and one.ndim]
        if mixed:
            raise RuntimeError(f"{function}: tensors on two devices, of shapes {[tuple(one.shape) for one in tensors]}")


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _wrapped(function: Any, args: Any, kwargs: Any, found: Any) -> Any:
    """Wrap what an operation gave; one that changes its argument gives that."""
    known = {id(one.near): one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Far)}
    return tree_map_only(torch.Tensor, lambda one: known[id(one)] if id(one) in known else Far(one), found)


def send(pipeline: Any) -> None:
    """Bring the weights and buffers of a pipeline's parts elsewhere, as ``to`` would."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for part in (own for module in modules for own in module.modules()):
        for name, weight in part._parameters.items():
            if weight is not None and not isinstance(weight, Far):
                part._parameters[name] = torch.nn.Parameter(Far(weight.data), requires_grad=weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, Far):
                part._buffers[name] = Far(buffer)
