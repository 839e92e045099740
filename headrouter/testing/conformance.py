"""Collect the checks in pytest classes: subclass one, give one fixture, and every check is a test."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, TypeVar, final

import pytest

from headrouter.testing import checks
from headrouter.testing.check import LATEST, UNEXPECTED_PASS, Check, CheckFailed, refuse_careless
from headrouter.testing.subjects import (
    BackboneSubject,
    DatasetSubject,
    InversionSubject,
    MaskSubject,
    MethodSubject,
    MetricSubject,
    OperatorSubject,
    PluginSubject,
)

Class = TypeVar("Class", bound=type)


class Conformance:
    """Runs the checks of one kind of part as tests.

    Attributes:
        known_failures: Names of checks that are known to fail, each with its reason. A check that is listed and passes fails
            the test, so that the list stays true.
        conformance: Version of the kit that is held; checks that came later run, and are reported without failing.
    """

    known_failures: ClassVar[Mapping[str, str]] = {}
    conformance: ClassVar[str] = LATEST
    checks: ClassVar[tuple[Check[Any], ...]] = ()

    @final
    def test_no_check_is_overridden(self) -> None:
        """Checks are what they are; a known failure is declared, not redefined."""
        for name in (*(_test_name(check) for check in self.checks), "test_no_check_is_overridden"):
            owner = next(kind for kind in type(self).__mro__ if name in vars(kind))
            if owner.__module__ != __name__:
                pytest.fail(
                    f"{owner.__name__} overrides {name}. List it in `known_failures`, with a reason.", pytrace=False
                )

    @final
    def test_known_failures_are_checks_with_reasons(self) -> None:
        """Check that each entry of `known_failures` names a check and gives a reason."""
        refuse_careless(self.known_failures, self.checks)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _test_name(check: Check[Any]) -> str:
    return f"test_{check.name}"


def _with_tests(checks: tuple[Check[Any], ...], fixture: str) -> Callable[[Class], Class]:
    """Give a class a test for each check, on the subject that its fixture gives."""

    def give(kind: Class) -> Class:
        kind.checks = checks  # type: ignore[attr-defined]
        for check in checks:
            setattr(kind, _test_name(check), _test(check, fixture))
        return kind

    return give


def _test(check: Check[Any], fixture: str) -> Callable[..., None]:
    def test(self: Conformance, **given: Any) -> None:
        subject = given[fixture]
        missing = check.missing(subject)
        if missing:
            pytest.skip(f"{subject.name} does not provide {', '.join(missing)}")
        reason = {**subject.known_failures, **self.known_failures}.get(check.name)
        try:
            check(subject)
        except CheckFailed as failure:
            if reason is not None:
                pytest.xfail(reason)
            if _version(check.since) > _version(self.conformance):
                pytest.xfail(f"since {check.since}, and this class holds {self.conformance}: {failure}")
            raise
        if reason is not None:
            pytest.fail(UNEXPECTED_PASS, pytrace=False)

    test.__name__, test.__doc__ = _test_name(check), check.summary
    wanted = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", fixture)]
    test.__signature__ = Signature(wanted)  # type: ignore[attr-defined]  # pytest reads the fixtures of a test here
    return test


@_with_tests(checks.backbone.CHECKS, "backbone")
class BackboneConformance(Conformance):
    """Collects the checks of a backbone."""

    @pytest.fixture
    def backbone(self) -> BackboneSubject:
        """Return the backbone under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `backbone` that returns a BackboneSubject")


@_with_tests(checks.inversion.CHECKS, "inversion")
class InversionConformance(Conformance):
    """Collects the checks of an inversion."""

    @pytest.fixture
    def inversion(self) -> InversionSubject:
        """Return the inversion under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `inversion` that returns an InversionSubject")


@_with_tests(checks.method.CHECKS, "method")
class MethodConformance(Conformance):
    """Collects the checks of a method."""

    @pytest.fixture
    def method(self) -> MethodSubject:
        """Return the method under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `method` that returns a MethodSubject")


@_with_tests(checks.operator.CHECKS, "operator")
class OperatorConformance(Conformance):
    """Collects the checks of a velocity operator."""

    @pytest.fixture
    def operator(self) -> OperatorSubject:
        """Return the operator under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `operator` that returns an OperatorSubject")


@_with_tests(checks.mask.CHECKS, "mask")
class MaskConformance(Conformance):
    """Collects the checks of a mask."""

    @pytest.fixture
    def mask(self) -> MaskSubject:
        """Return the mask under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `mask` that returns a MaskSubject")


@_with_tests(checks.dataset.CHECKS, "dataset")
class DatasetConformance(Conformance):
    """Collects the checks of a data set."""

    @pytest.fixture
    def dataset(self) -> DatasetSubject:
        """Return the data set under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `dataset` that returns a DatasetSubject")


@_with_tests(checks.metric.CHECKS, "metric")
class MetricConformance(Conformance):
    """Collects the checks of a metric."""

    @pytest.fixture
    def metric(self) -> MetricSubject:
        """Return the metric under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `metric` that returns a MetricSubject")


@_with_tests(checks.plugin.CHECKS, "plugin")
class PluginConformance(Conformance):
    """Collects the checks of a plug-in."""

    @pytest.fixture
    def plugin(self) -> PluginSubject:
        """Return the plug-in under test; a subclass gives it."""
        raise NotImplementedError("give a fixture `plugin` that returns a PluginSubject")
