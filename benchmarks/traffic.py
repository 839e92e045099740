"""Operations that PyTorch starts, and the bytes that they read and write, counted from the shapes of their tensors."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, final

from torch import Tensor

from headrouter.compat import DispatchMode

VIEWS = frozenset(
    [
        "alias",
        "detach",
        "expand",
        "permute",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unsqueeze",
        "view",
    ]
)
NOTHING = frozenset(["empty", "empty_like", "empty_strided", "lift_fresh", "new_empty"])
WRITES = frozenset(["copy_", "fill_", "zero_"])
GATHERS = frozenset(["gather", "index", "index_select"])


@final
class Traffic(DispatchMode):
    """Adds up what each operation is given and gives back, views aside.

    Each tensor counts once for an operation, an expanded one by the elements that it has in memory, one that is gathered from by
    what is taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in VIEWS | NOTHING:
            self.operations += 1
            given = args[1:] if name in WRITES else found if name in GATHERS else args
            self.add(*tensors_in([given, list((kwargs or {}).values())]))
            self.add(*tensors_in([found]))
        return found

    def add(self, *tensors: object, share: float = 1.0) -> None:
        """Count a share of the bytes of tensors."""
        unique = {id(tensor): tensor for tensor in tensors if isinstance(tensor, Tensor)}
        self.bytes += int(share * sum(map(size, unique.values())))


def tensors_in(values: Iterable[object]) -> Iterator[Tensor]:
    """Yield the tensors among values, in lists of them too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def size(tensor: Tensor) -> int:
    """Return the bytes of a tensor's elements in memory.

    >>> size(torch.zeros(3, 1).expand(3, 5))
    12
    """
    shape = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.element_size() * math.prod(length for length, stride in shape if stride or length < 2)
