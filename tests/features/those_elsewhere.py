"""Features on a stand-in for a GPU: tensors of two devices do not mix, and steps wait for nothing."""

from collections import Counter

import pytest
import torch
from builders import PICTURE
from headrouter_analysis.methods.dropout import HeadDropout
from headrouter_analysis.methods.maps import AttentionMaps
from headrouter_analysis.methods.swap import HeadSwap
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.rf import RFInversion

from headrouter.masks.mask import NoMask
from headrouter.methods.head_router.method import HeadRouter

from .elsewhere import ELSEWHERE, Elsewhere, Far, send
from .features import COLUMNS, SIZE, SOURCE, TARGET, editor
from .on_device import outcome

HEADS = ((0, 1), (1, 0))


def test_the_stand_in_refuses_what_a_gpu_refuses_and_counts_what_it_waits_for() -> None:
    with Elsewhere() as mode:
        far, near = torch.ones(2, 3, device=ELSEWHERE), torch.ones(2, 3)
        assert far.device == ELSEWHERE and far[:1].device == ELSEWHERE and torch.tensor([1], device=ELSEWHERE).is_leaf
        assert torch.equal((far + torch.tensor(1.0)).cpu(), near + 1), "single numbers may come from the CPU"
        assert not isinstance(far.cpu(), Far) and isinstance(near.to(ELSEWHERE), Far)
        for mixes in (lambda: far + near, lambda: torch.cat([far, near]), lambda: near.copy_(far) + far):
            with pytest.raises(RuntimeError, match="two devices"):
                mixes()
        with pytest.raises(RuntimeError, match="generator of the CPU"):
            torch.randn(2, device=ELSEWHERE, generator=torch.Generator())
        with pytest.raises((RuntimeError, TypeError)):
            far.numpy()
        far[0, 0] = 5
        far[torch.tensor([1])] = 7
        assert far.cpu().tolist() == [[5, 1, 1], [7, 7, 7]]
    assert not mode.waits, "waits are counted by lines of the package"


@pytest.mark.parametrize(
    ("feature", "model"),
    [
        ("local blending by words, with injection", "SD3.5-medium"),
        ("negative prompt", "Krea 2"),
    ],
)
@pytest.mark.filterwarnings("ignore::headrouter.errors.SourceWarning")
def test_features_work_there(feature: str, model: str) -> None:
    assert outcome((feature, model), "elsewhere") == "works"


def test_steps_wait_for_nothing() -> None:
    """But for the check of finite numbers, which on CUDA is read a step later, when it is there."""
    methods = [
        HeadRouter(image_tokens="attention", rho=0.5),
        Injection(tau=1.0),
        LocalBlend(mask=NoMask(), blend=1.0),
        AttentionMaps(heads=(0, 2)),
        HeadDropout(heads=HEADS),
        HeadSwap(heads=HEADS),
    ]

    def waits(steps: int) -> Counter[str]:
        parts = COLUMNS["SD3"]()
        with Elsewhere() as mode:
            send(parts[1])
            editor(parts, RFInversion(), methods).edit(PICTURE, TARGET, SOURCE, size=SIZE, steps=steps, maps=False)
        return mode.waits

    few, more = waits(2), waits(3)
    assert {place.partition(":")[0] for place in more - few} == {"headrouter/sampling/finiteness.py"}
