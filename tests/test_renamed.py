"""Names of before the glossary still work, with a warning that names the new one."""

import importlib
from typing import Any

import pytest
import torch
from headrouter_analysis.methods.swap import HeadSwap

from headrouter import renamed
from headrouter.attention.joint_attention import TextStream
from headrouter.attention.step_info import StepInfo
from headrouter.errors import InvalidInputError
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.models.backbone import AttentionListener
from headrouter.testing.method_runs import edited
from headrouter.testing.toy import ToyMMDiT

STEP = StepInfo("sample", 2, 8, 0, 0.5, 2)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("headrouter.attention.step_info", "Clock", "StepInfo"),
        ("headrouter.attention.rows", "Half", "CfgBranch"),
        ("headrouter.config.step_or_fraction", "Moment", "StepOrFraction"),
        ("headrouter.editing.inverted_latents", "Inverted", "InvertedLatents"),
        ("headrouter.methods.method", "Setting", "RunContext"),
        ("headrouter.sampling.inversion", "Problem", "RunInputs"),
        ("headrouter.models.backbone", "Listener", "AttentionListener"),
    ],
)
def test_a_module_gives_its_old_names(module: str, old: str, new: str) -> None:
    found = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{old} is {new} now"):
        assert getattr(found, old) is getattr(found, new)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        found.nothing_of_this_name  # noqa: B018


def test_a_value_has_its_attribute_by_the_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="`clock` of .*TextStream.* is `step_info` now"):
        stream = TextStream(site=None, rows=(), clock=STEP, hidden=None)  # type: ignore[call-arg, arg-type]
    with pytest.warns(DeprecationWarning, match="`TextStream.clock` is `step_info` now"):
        assert stream.clock is STEP


def test_a_subclass_may_implement_and_callers_may_use_an_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="`clock` of .*Old is `step_info` now"):

        class Old(AttentionListener):
            clock = STEP
            begin_forward = attention = text = None

    class Later(Old):
        @property
        def step_info(self) -> Any:
            return super().clock

    assert Old().step_info is STEP
    assert Later().step_info is STEP
    with pytest.warns(DeprecationWarning, match="`clock` of .*Later is `step_info` now"):
        assert Later().clock is STEP


def test_a_method_of_before_still_runs() -> None:
    with pytest.warns(DeprecationWarning, match="`evidence` of .*Run is `diagnostics` now"):

        class Run(MethodRun):
            def needs(self, step: int) -> Needs:
                return Needs(attention=frozenset({0}))

            def evidence(self) -> dict[str, torch.Tensor]:
                return {"seen": torch.ones(1)}

    class Before(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return Run()

    sampled = edited(ToyMMDiT(), Before())
    assert sampled.diagnostics[0]["seen"] == 1
    with pytest.warns(DeprecationWarning, match="`Sampled.evidence` is `diagnostics` now"):
        assert sampled.evidence is sampled.diagnostics


def test_a_keyword_may_have_its_old_name() -> None:
    @renamed.keywords(before="after")
    def function(*, after: int) -> int:
        return after

    with pytest.warns(DeprecationWarning, match="`before` of .*function is `after` now"):
        assert function(before=1) == 1  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning), pytest.raises(InvalidInputError, match="`after` and `before`, its old name"):
        function(before=1, after=2)  # type: ignore[call-arg]


def test_a_parameter_may_have_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="`halves` of HeadSwap is `branches` now"):
        swap = HeadSwap.model_validate({"halves": "both"})
    assert swap == HeadSwap(branches="both")
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="`branches` and `halves`, its old name"):
        HeadSwap.model_validate({"halves": "both", "branches": "both"})
