"""LayerVerse is injection of keys and values: outside a mask in most of its blocks, everywhere in some."""

from typing import Any

import pytest
import torch
from headrouter_injection.method import Injection
from headrouter_inversions.euler import Euler

from headrouter.editing.tuning import with_preset
from headrouter.errors import InvalidInputError
from headrouter.testing.masks import ConstantMask
from headrouter.testing.method_runs import edited
from headrouter.testing.toy import ToyMMDiT

TOY = ToyMMDiT()


def injected(**values: Any) -> torch.Tensor:
    return edited(TOY, Injection(replace="kivi", tau=1.0, **values), keep_source=True).latents


def test_blocks_everywhere_disregard_the_mask() -> None:
    """A mask of ones leaves a masked block the edit's own, and a block everywhere the source's."""
    ones, zeros = ConstantMask(value=1.0), ConstantMask(value=0.0)
    assert torch.equal(injected(blocks=(0, 1), mask=ones, everywhere=(1,)), injected(blocks=(1,)))
    assert torch.equal(injected(blocks=(0, 1), mask=zeros, everywhere=(1,)), injected(blocks=(0, 1)))
    assert torch.equal(injected(blocks=(0, 1), mask=ones), edited(TOY, keep_source=True).latents)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"blocks": (0, 1), "everywhere": (1,)}, "without a mask every block replaces everywhere"),
        ({"blocks": (0,), "mask": ConstantMask(), "everywhere": (1,)}, "does not act in these blocks"),
        ({"mask": ConstantMask(), "everywhere": (7,)}, "do not exist"),
    ],
)
def test_what_would_have_no_effect_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        injected(**values)


@pytest.mark.parametrize(
    ("name", "steps", "masked", "everywhere"),
    [
        ("layerverse-flux", 15, {1, *(19 + single for single in range(32, 38))}, {2}),
        ("layerverse-sd35-medium", 28, {0, 1, 3, 4, 12, 14, 17, 18, 19}, {20, 21, 22, 23}),
    ],
)
def test_the_presets_are_the_published_allocations(
    name: str, steps: int, masked: set[int], everywhere: set[int]
) -> None:
    """Single blocks of Flux are counted behind its 19 dual ones."""
    _, (method,), _ = with_preset(name, Euler(), [Injection(mask="attention")], steps)
    assert isinstance(method, Injection) and set(method.everywhere) == everywhere
    assert {*method.blocks} - everywhere == masked and method.replace == ("kivi",) and method.tau == 1.0  # type: ignore[misc]
