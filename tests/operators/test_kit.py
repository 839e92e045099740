"""headrouter's own velocity operators pass their checks, and operators with one mistake each are found."""

from typing import Any, ClassVar

import pytest
import torch
from headrouter_operators.gate import Gate
from headrouter_operators.mask import MaskOperator
from headrouter_operators.mimic_cfg import MimicCfg
from headrouter_operators.pmi import ProximalMean
from headrouter_operators.projection import Projection
from headrouter_operators.veloedit import VeloEdit

from headrouter.sampling.velocity_operator import NoOperator, OperatorRun, VelocityOperator
from headrouter.testing import OperatorConformance, OperatorSubject, checks
from headrouter.testing.check import run
from headrouter.testing.masks import ConstantMask


class TestOperators(OperatorConformance):
    @pytest.fixture(
        params=[
            OperatorSubject("mask", MaskOperator(mask=ConstantMask(value=0.3))),
            OperatorSubject("projection", Projection()),
            OperatorSubject("projection-place", Projection(within="place", strength=0.5)),
            OperatorSubject("gate", Gate()),
            OperatorSubject("pmi", ProximalMean()),
            OperatorSubject("mimic-cfg", MimicCfg()),
            OperatorSubject("veloedit", VeloEdit(stop=1.0, blend=0.3)),
            OperatorSubject("none", NoOperator(), acts=False),
        ],
        ids=lambda subject: subject.name,
    )
    def operator(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class Half(VelocityOperator):
    """Half of the difference, done right; subclasses do one thing wrong."""

    neutral: ClassVar[dict[str, float]] = {"share": 1.0}
    share: float = 0.5

    def begin(self, context: Any) -> OperatorRun:
        return HalfRun(self)


class HalfRun(OperatorRun):
    def __init__(self, operator: Half):
        self.operator, self.seen = operator, dict[Any, Any]()

    def change(self, event: Any) -> torch.Tensor:
        return self.operator.answer(event, self.seen)  # type: ignore[attr-defined]


def half(event: Any, share: float, place: int) -> torch.Tensor:
    return torch.lerp(event.source_of(place), event.velocity[place], share)


class Right(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        return event.changed(lambda place: half(event, self.share, place))


class NotToTheBit(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        def mixed(place: int) -> torch.Tensor:
            source = event.source_of(place)
            return source + self.share * (event.velocity[place] - source)

        return event.changed(mixed)


class Idle(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        return event.velocity


class InPlace(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        event.velocity[-1] = half(event, self.share, -1)
        return event.velocity


class ChangesSources(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        return event.velocity * (1.0 if self.share == 1 else 0.9)


class FirstSourceForAll(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        return event.changed(lambda place: torch.lerp(event.velocity[0], event.velocity[place], self.share))


class StateByPlace(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        def held(place: int) -> torch.Tensor:
            first = seen.setdefault("first", event.velocity[place])
            return torch.lerp(first, event.velocity[place], self.share)

        return event.changed(held)


class SecretNeed(Half):
    needs_source: ClassVar[bool] = False

    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        if not any(row.is_source for row in event.rows):
            return event.velocity
        return event.changed(lambda place: half(event, self.share, place))


class StateOnTheOperator(Half):
    means: ClassVar[list[torch.Tensor]] = []

    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        self.means.append(event.velocity[-1])
        return event.changed(lambda place: half(event, self.share / len(self.means), place))


class Noisy(Half):
    def answer(self, event: Any, seen: dict[Any, Any]) -> torch.Tensor:
        torch.rand(1)
        return event.changed(lambda place: half(event, self.share, place))


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (NotToTheBit, "at_neutral_settings_it_changes_nothing", "latents differ by"),
        (Idle, "it_changes_the_edit", "the edit is the plain one"),
        (InPlace, "it_keeps_what_it_is_given", "writes into the event's velocity"),
        (ChangesSources, "it_keeps_what_it_is_given", "changes the velocity of a source's row"),
        (FirstSourceForAll, "pictures_are_independent", "when another one is in the batch"),
        (StateByPlace, "edits_are_independent", "when another one is in the batch"),
        (SecretNeed, "the_source_runs_only_as_long_as_it_is_needed", "when the source's row runs to the end"),
        (StateOnTheOperator, "an_operator_is_a_function", "differs after another edit"),
        (Noisy, "an_operator_is_a_function", "global random generator"),
    ],
)
def test_a_wrong_operator_is_found(kind: type[Half], check: str, says: str) -> None:
    (found,) = [each for each in checks.operator.CHECKS if each.name == check]
    result = run(found, OperatorSubject(kind.__name__, kind()))
    assert result.outcome == "failed" and says in result.message.partition("\nIf this fails")[0]
    assert run(found, OperatorSubject("right", Right())).outcome == "passed"
