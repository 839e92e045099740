"""The kit itself: known failures are strict, checks cannot be redefined, the command tells what failed."""

import json

import pytest

from headrouter.cli import main
from headrouter.methods.head_router.method import HeadRouter, NoMethod
from headrouter.plugins import registry
from headrouter.plugins.specifications import MethodSpec, hookimpl
from headrouter.testing import (
    BackboneSubject,
    MethodConformance,
    MethodSubject,
    checks,
)
from headrouter.testing.check import Check, CheckFailed, check, run
from headrouter.testing.toy import ToyMMDiT

ALL = (*checks.backbone.CHECKS, *checks.inversion.CHECKS, *checks.method.CHECKS, *checks.plugin.CHECKS)
DEAD, ALIVE = MethodSubject("none", NoMethod()), MethodSubject("headrouter", HeadRouter())


class Careful(MethodConformance):
    known_failures = {"it_changes_the_edit": "it is nothing at all"}  # noqa: RUF012


class Careless(MethodConformance):
    known_failures = {"it_changes_the_edit": " "}  # noqa: RUF012


class Redefined(MethodConformance):
    def test_it_runs(self):
        """It does, surely."""


def test_a_known_failure_is_expected_and_strict():
    with pytest.raises(CheckFailed, match="the edit is the plain one"):
        MethodConformance().test_it_changes_the_edit(method=DEAD)
    with pytest.raises(pytest.xfail.Exception, match="nothing at all"):
        Careful().test_it_changes_the_edit(method=DEAD)
    with pytest.raises(pytest.fail.Exception, match="and passes"):
        Careful().test_it_changes_the_edit(method=ALIVE)
    Careful().test_known_failures_are_checks_with_reasons()
    with pytest.raises(CheckFailed, match="no reason"):
        Careless().test_known_failures_are_checks_with_reasons()


def test_a_subjects_own_known_failures():
    failing = MethodSubject("none", NoMethod(), known_failures={"it_changes_the_edit": "nothing", "it_runs": "no"})
    outcomes = {each.name: run(each, failing).outcome for each in checks.method.CHECKS}
    assert outcomes["it_changes_the_edit"] == "known failure"
    assert outcomes["it_runs"] == "failed", "it is listed, and passes"
    assert outcomes["it_keeps_no_events"] == "passed"


def test_a_check_that_does_not_apply_is_skipped():
    result = run(checks.method.at_strength_zero_it_changes_nothing, ALIVE)
    assert (result.outcome, result.message) == ("skipped", "needs neutral")


def test_a_check_newer_than_the_pin_is_reported_and_does_not_fail():
    class Pinned(MethodConformance):
        conformance = "0.0"

    with pytest.raises(pytest.xfail.Exception, match=r"since 0\.1"):
        Pinned().test_it_changes_the_edit(method=DEAD)


def test_no_check_can_be_overridden():
    MethodConformance().test_no_check_is_overridden()
    Careful().test_no_check_is_overridden()
    with pytest.raises(pytest.fail.Exception, match="Redefined overrides test_it_runs"):
        Redefined().test_no_check_is_overridden()


def test_every_check_says_what_holds_and_where_to_look():
    names = [each.name for each in ALL]
    assert len(set(names)) == len(names)
    for each in ALL:
        assert isinstance(each, Check)
        assert each.summary.endswith(".") and each.advice.endswith("."), each.name


def test_what_a_part_raises_is_a_failure_with_its_words():
    @check(since="0.1")
    def broken(subject):
        """It works.

        If this fails: look here.
        """
        raise KeyError("lost")

    with pytest.raises(CheckFailed, match=r"raised KeyError: 'lost'\nIf this fails: look here\."):
        broken(ALIVE)


def test_the_toy_is_a_subject_of_its_own():
    subject = BackboneSubject("toy", ToyMMDiT)
    assert "reference" not in subject.provides
    assert run(checks.backbone.listening.sites_are_numbered, subject).outcome == "passed"


def test_the_command_prints_what_became_of_each_check(capsys):
    assert main(["conformance", "injection"]) == 0
    printed = capsys.readouterr().out
    assert "it_changes_the_edit" in printed and "it_is_light" in printed, "the method, and the plug-in of that name"
    assert main(["conformance", "headrouter:rf", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is True
    assert {row["outcome"] for row in document["results"]} == {"passed", "skipped"}


def test_the_command_fails_where_a_check_fails(capsys):
    class Plugin:
        headrouter_api = 1

        @hookimpl
        def register_methods(self, register):
            register(
                MethodSpec("idle", "headrouter.methods.head_router.method:NoMethod", provides={"acts"}, summary="Idle.")
            )

    plugin = Plugin()
    registry().register(plugin, name="idle-plugin")
    try:
        assert main(["conformance", "idle", "--json"]) == 1
    finally:
        registry().unregister(plugin)
    document = json.loads(capsys.readouterr().out)
    [failed] = [row for row in document["results"] if row["outcome"] == "failed"]
    assert failed["check"] == "it_changes_the_edit"
    assert "look at `needs`" in failed["message"]


def test_an_unknown_name_is_the_users_error(capsys):
    assert main(["conformance", "nobody"]) == 2
    assert "nothing is called 'nobody'" in capsys.readouterr().err
