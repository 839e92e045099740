"""The fingerprint of tensors: which changes it sees, small tensors together or alone."""

import hashlib

import pytest
import torch

from headrouter.models import fingerprint as module
from headrouter.models.fingerprint import fingerprint

DTYPES = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
]


def weights(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Small and large tensors, an empty one, one of a single number and one that is not contiguous."""
    torch.manual_seed(0)
    shapes = {"a": (4, 6), "b": (4, 6), "none": (0, 3), "one": (), "large": (300, 256)}
    found = {name: (torch.randn(shape) * 50).to(dtype) for name, shape in shapes.items()}
    return {**found, "turned": found["a"].mT}


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float8_e4m3fn], ids=str)
def test_small_tensors_count_together_as_they_do_alone(dtype: torch.dtype) -> None:
    """The reference hashes each tensor by itself."""
    expected = hashlib.sha256(b"null")
    for name, tensor in sorted(weights(dtype).items()):
        expected.update(f"{name}\n".encode() + module._digest(tensor))
    assert fingerprint(weights(dtype).items()) == expected.hexdigest()[:16]


def swapped(tensor: torch.Tensor, dim: int, first: int, second: int) -> None:
    order = list(range(tensor.shape[dim]))
    order[first], order[second] = second, first
    tensor.data.copy_(tensor.index_select(dim, torch.tensor(order)))


CHANGES = {
    "a number through data": lambda found: found["a"].data[1, 2].add_(1),
    "a number through a view": lambda found: found["large"].data.view(-1)[77].mul_(2),
    "two rows": lambda found: swapped(found["a"], 0, 0, 3),
    "two rows of a large one": lambda found: swapped(found["large"], 0, 5, 200),
    "two columns of a large one": lambda found: swapped(found["large"], 1, 5, 200),
    "two heads of 64": lambda found: found["large"].data.copy_(found["large"].unflatten(1, (4, 64)).flip(1).flatten(1)),
    "the order of numbers": lambda found: found["a"].data.view(-1).copy_(found["a"].flatten().flip(0)),
    "two tensors": lambda found: found.update(a=found["b"], b=found["a"]),
    "a shape": lambda found: found.update(a=found["a"].view(6, 4)),
    "a bit between tensors": lambda found: found.update(a=found["a"][:3], b=torch.cat([found["a"][3:], found["b"]])),
    "a name": lambda found: found.update(c=found.pop("a")),
    "one more": lambda found: found.update(c=torch.zeros(1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_at_once(name: str) -> None:
    found = weights()
    before = fingerprint(found.items())
    CHANGES[name](found)
    assert fingerprint(found.items()) != before
