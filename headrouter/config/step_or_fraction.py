"""Define bounds of a window of steps: a step number, or a fraction of the steps."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictFloat, StrictInt

from headrouter import renamed

StepOrFraction = Annotated[StrictInt, Field(ge=0)] | Annotated[StrictFloat, Field(ge=0.0, le=1.0)]
"""An int is a step number, a float in [0, 1] a fraction of the steps; the two are never confused: 1 is not 1.0."""


def step_of(bound: int | float, steps: int) -> int:
    """Return the step that a bound names in a run of ``steps`` steps; at most ``steps``.

    >>> step_of(6, 28), step_of(0.25, 28), step_of(1, 28), step_of(1.0, 28), step_of(40, 28)
    (6, 7, 1, 28, 28)
    """
    return min(bound if isinstance(bound, int) else round(bound * steps), steps)


def window(start: int | float, stop: int | float, steps: int) -> range:
    """Return the steps from ``start`` up to, not including, ``stop``; empty if ``stop`` does not come after ``start``.

    >>> window(0, 0.25, 28)
    range(0, 7)
    """
    return range(step_of(start, steps), step_of(stop, steps))


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Moment="StepOrFraction")
