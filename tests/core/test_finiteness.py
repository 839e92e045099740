"""Notes of a step are read together, at its end or, on an accelerator, when the next one ends."""

import pytest
import torch

from headrouter.errors import NonFiniteError
from headrouter.sampling.finiteness import FiniteCheck

GOOD, BAD, ENDLESS = torch.tensor([1e30, -1e30, 1e30]), torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf])


def note(check: FiniteCheck, tensor: torch.Tensor, name: str) -> None:
    check.note(tensor, lambda: NonFiniteError(name))


@pytest.mark.parametrize(
    "broken", [BAD, ENDLESS, torch.tensor([torch.inf, -torch.inf]), torch.tensor([-torch.inf, 1.0])]
)
def test_a_step_is_checked_when_it_ends(broken: torch.Tensor) -> None:
    check = FiniteCheck(late=False)
    note(check, GOOD, "first")
    check.end_step()
    note(check, GOOD, "second")
    note(check, broken, "third")
    note(check, BAD, "fourth")
    with pytest.raises(NonFiniteError, match="third"):
        check.end_step()


def test_late_a_step_is_checked_when_the_next_one_ends() -> None:
    check = FiniteCheck(late=True)
    note(check, BAD, "first")
    check.end_step()
    note(check, BAD, "second")
    with pytest.raises(NonFiniteError, match="first"):
        check.end_step()


def test_late_the_last_step_is_checked_at_the_end_of_the_run() -> None:
    check = FiniteCheck(late=True)
    note(check, GOOD, "first")
    check.end_step()
    check.end()
    note(check, BAD, "second")
    check.end_step()
    with pytest.raises(NonFiniteError, match="second"):
        check.end()


def test_a_tensor_may_change_after_it_was_noted() -> None:
    check, tensor = FiniteCheck(late=True), torch.ones(2)
    note(check, tensor, "first")
    tensor.fill_(torch.nan)
    check.end_step()
    check.end()


def test_many_halves_are_finite_though_their_sum_is_none_of_theirs() -> None:
    check = FiniteCheck(late=False)
    note(check, torch.ones(1 << 17, dtype=torch.float16), "halves")
    check.end_step()
    note(check, torch.full((3,), 3e38), "a sum that overflows")
    with pytest.raises(NonFiniteError, match="overflows"):
        check.end_step()
