"""Describe what is searched: ranges of numbers and choices, some of which bring fields of their own."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from headrouter.config.configuration import Placed
from headrouter.editing.assembly import part_class
from headrouter.experiments.composing import SEVERAL
from headrouter.experiments.configuration import Configuration
from headrouter.masks.part import mask_of
from headrouter.plugins.specifications import KINDS

DIGITS: Final = 4
"""Significant digits of a suggested number, so that its name says all of it."""


class Trial(Protocol):
    """Describes the part of optuna's trials that suggestions are asked of."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Range:
    """Describes numbers of a field, both ends included.

    Attributes:
        path: Of the field in a configuration: ``("inversion", "last_steps")``.
        name: For suggestions; unique in the search.
        place: In the file.
        low, high: The ends; whole numbers where the field takes no others.
        step: Between two values; None for any.
        log: Whether the logarithm is searched evenly.
    """

    path: tuple[str, ...]
    name: str
    place: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    def suggested(self, trial: Trial) -> Iterator[tuple[Placed, str]]:
        """Yield a value, with a word for the name of the configuration."""
        value: float
        if isinstance(self.low, int) and isinstance(self.high, int):
            value = trial.suggest_int(self.name, self.low, self.high, step=int(self.step or 1), log=self.log)
        else:
            value = trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
            value = min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        yield Placed(self.path, value, self.place), f"{self.path[-1]}={value:g}"

    def located(self, configuration: Configuration) -> dict[str, Any] | None:
        """Return the suggestion that gives a configuration's value; None if it is outside."""
        value = _value_at(configuration, self.path)
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            return None
        steps = (value - self.low) / (self.step or 1)
        on_grid = self.step is None or math.isclose(steps, round(steps), abs_tol=1e-6)
        return {self.name: value} if self.low <= value <= self.high and on_grid else None


@dataclass(frozen=True, slots=True)
class Option:
    """Holds a value that may be chosen.

    Attributes:
        label: Of it in names.
        value: For the file of a configuration.
        names: Of the parts that it stands for; empty for the value of a field.
        fields: That are searched where it is chosen.
    """

    label: str
    value: Any
    names: tuple[str, ...] = ()
    fields: "tuple[Field, ...]" = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Describes values of a field, or parts of a kind, of which one is chosen.

    Attributes:
        path, name, place: As of :class:`Range`.
        options: At least two, with different labels.
    """

    path: tuple[str, ...]
    name: str
    place: str
    options: tuple[Option, ...]

    def suggested(self, trial: Trial) -> Iterator[tuple[Placed, str]]:
        """Yield the chosen value, and those of the fields that come with it."""
        label = trial.suggest_categorical(self.name, [one.label for one in self.options])
        chosen = next(one for one in self.options if one.label == label)
        yield Placed(self.path, chosen.value, self.place), label if chosen.names else f"{self.path[-1]}={label}"
        for field in chosen.fields:
            yield from field.suggested(trial)

    def located(self, configuration: Configuration) -> dict[str, Any] | None:
        """Return the suggestions that give a configuration's value, or its parts; None if it has another."""
        for option in self.options:
            there = _is_of(option, self.path, configuration)
            own = located(option.fields, configuration) if there else None
            if own is not None:
                return {self.name: option.label, **own}
        return None


Field: TypeAlias = Range | Choice
Space: TypeAlias = tuple[Field, ...]


def suggested(space: Space, trial: Trial) -> tuple[list[Placed], str]:
    """Return the values that a trial suggests, and words for the name of the configuration: ``last_steps=0.62 gamma=0.1``."""
    found = [one for field in space for one in field.suggested(trial)]
    return [placed for placed, _ in found], " ".join(word for _, word in found)


def located(space: Space, configuration: Configuration) -> dict[str, Any] | None:
    """Return the suggestions that give the fields of a configuration; None if it has values outside the search."""
    found: dict[str, Any] = {}
    for field in space:
        own = field.located(configuration)
        if own is None:
            return None
        found |= own
    return found


def paths(space: Space) -> Iterator[str]:
    """Yield the dotted path of each field, with those of its options."""
    for field in space:
        yield field.name
        if isinstance(field, Choice):
            for option in field.options:
                yield from paths(option.fields)


def _parts(configuration: Configuration, kind: str) -> tuple[Any, ...]:
    several = {"operator": configuration.operators, "method": configuration.methods}
    one = {"inversion": configuration.inversion, "mask": configuration.mask}
    return several[kind] if kind in several else () if one[kind] is None else (one[kind],)


def _value_at(configuration: Configuration, path: tuple[str, ...]) -> Any:
    """Return a value of a settled configuration; None where it has none of that name."""
    if path[0] not in KINDS:
        return getattr(configuration, path[0], None)
    parts, (*place, name) = _parts(configuration, path[0]), path[1:]
    number = int(place[0]) if place else 0
    return getattr(parts[number], name, None) if number < len(parts) else None


def _is_of(option: Option, path: tuple[str, ...], configuration: Configuration) -> bool:
    if not option.names:
        return bool(_value_at(configuration, path) == option.value)
    (kind,) = path
    there = [type(part) for part in _parts(configuration, kind)]
    if option.names == ("none",) and (kind in SEVERAL or kind == "mask"):
        return not there
    if kind == "mask":  # an expression, too
        return bool(there) and configuration.mask == mask_of(option.value)
    return there == [part_class(kind, name) for name in option.names]  # type: ignore[arg-type]
