"""Define checks: functions that raise when a part is wrong, with the error and its likely cause.

A check is written as a plain function of a subject. Its docstring says what must hold and ends in "If this fails: ...",
which is added to the message of every failure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NoReturn, Protocol, TypeVar, final

LATEST = "0.4"
"""The version of the kit: the newest ``since`` of any check."""


class CheckFailed(AssertionError):
    """Reports a property that does not hold."""


class Subject(Protocol):
    """Describes a part under test."""

    @property
    def name(self) -> str:
        """Return its name in tables and messages."""
        ...

    @property
    def provides(self) -> frozenset[str]:
        """Return the words that checks may require."""
        ...

    @property
    def known_failures(self) -> Mapping[str, str]:
        """Return names of checks that fail, each with its reason."""
        ...


Under = TypeVar("Under", bound=Subject)
Outcome = Literal["passed", "failed", "known failure", "skipped"]


@final
@dataclass(frozen=True)
class Check(Generic[Under]):
    """Holds one property that a subject must have.

    Attributes:
        name: Name of its function.
        summary: Property that must hold, in a sentence.
        advice: Likely cause if it does not.
        since: First version of the kit that had it.
        requires: Words that the subject must provide; otherwise the check does not apply.
    """

    name: str
    summary: str
    advice: str
    since: str
    requires: frozenset[str]
    function: Callable[[Under], None] = field(repr=False)

    def __call__(self, subject: Under) -> None:
        """Run it.

        Raises:
            CheckFailed: it does not hold, or the subject raised something.
        """
        try:
            self.function(subject)
        except CheckFailed as failure:
            raise CheckFailed(f"{failure}\nIf this fails: {self.advice}") from failure
        except Exception as error:
            text = f"{type(error).__name__}: {error}".rstrip(": ")
            raise CheckFailed(f"It raised {text}\nIf this fails: {self.advice}") from error

    def missing(self, subject: Under) -> list[str]:
        """Return the required words that the subject does not provide."""
        return sorted(self.requires - subject.provides) if self.requires else []


def check(*, since: str, requires: frozenset[str] | set[str] = frozenset()) -> Callable[[Callable[[Any], None]], Any]:
    """Make a check of a function."""

    def make(function: Callable[[Any], None]) -> Check[Any]:
        holds, found, advice = " ".join((function.__doc__ or "").split()).partition("If this fails:")
        assert found, f"the docstring of {function.__name__} must end in 'If this fails: ...'"
        return Check(function.__name__, holds.strip(), advice.strip(), since, frozenset(requires), function)

    return make


def collect(namespace: Mapping[str, Any]) -> tuple[Check[Any], ...]:
    """Return the checks of a module, in the order in which they are written."""
    return tuple(value for value in namespace.values() if isinstance(value, Check))


def expect(condition: bool, message: str) -> None:
    """Raise :class:`CheckFailed` with ``message`` unless ``condition`` holds."""
    if not condition:
        fail(message)


def fail(message: str) -> NoReturn:
    """Raise :class:`CheckFailed`."""
    raise CheckFailed(message)


@final
@dataclass(frozen=True)
class Result:
    """Holds the outcome of one check of one subject."""

    subject: str
    check: str
    outcome: Outcome
    message: str = ""


def run(check: Check[Under], subject: Under) -> Result:
    """Run one check. A known failure that passes is a failure: its entry has become wrong."""
    missing = check.missing(subject)
    reason = subject.known_failures.get(check.name)
    if missing:
        return Result(subject.name, check.name, "skipped", f"needs {', '.join(missing)}")
    try:
        check(subject)
    except CheckFailed as failure:
        if reason is not None and reason.strip():
            return Result(subject.name, check.name, "known failure", reason)
        return Result(subject.name, check.name, "failed", str(failure))
    if reason is not None:
        return Result(subject.name, check.name, "failed", UNEXPECTED_PASS)
    return Result(subject.name, check.name, "passed")


UNEXPECTED_PASS = "It is listed as a known failure, and passes. Take it out of `known_failures`."


def refuse_careless(known_failures: Mapping[str, str], checks: tuple[Check[Any], ...]) -> None:
    """Refuse known failures that name no check or give no reason."""
    names = [check.name for check in checks]
    for name, reason in known_failures.items():
        expect(
            name in names, f"`known_failures` names {name!r}, and there is no such check. Checks: {', '.join(names)}."
        )
        expect(bool(reason.strip()), f"`known_failures` gives no reason for {name!r}. Say why it fails.")
