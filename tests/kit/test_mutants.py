"""The kit finds mistakes: each mutant of a correct adapter fails the check that is meant for it, which says what is wrong."""

import pytest

from headrouter.testing.check import run
from headrouter.testing.checks.backbone import CHECKS

from .mutants import MUTANTS

BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name):
    mutant = MUTANTS[name]
    result = run(BY_NAME[mutant.check], mutant.subject)
    assert result.outcome == "failed"
    said, _, advice = result.message.partition("\nIf this fails: ")
    assert mutant.says in said
    assert advice == BY_NAME[mutant.check].advice
