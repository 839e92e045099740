"""A measured figure beside its goal, and a table of them."""

import operator
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge, "=": operator.eq}


@final
@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a table.

    Attributes:
        what: What was measured.
        value: The figure; None where measuring failed.
        unit: ``×`` for ratios.
        spread: Lower and upper quartile of the rounds, where there are some.
        goal: ``("≤" or "≥" or "=", number)``; None where there is none.
        note: What else a reader should know.
        error: Why there is no figure.
    """

    what: str
    value: float | None = None
    unit: str = "×"
    spread: tuple[float, float] | None = None
    goal: tuple[str, float] | None = None
    note: str = ""
    error: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal. An error never meets anything."""
        if self.error is not None or self.value is None:
            return False
        return None if self.goal is None else _COMPARE[self.goal[0]](self.value, self.goal[1])

    @classmethod
    def of(cls, what: str, values: Sequence[float], **others: Any) -> "Figure":
        """The median of values, with their quartiles."""
        quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
        return cls(what, statistics.median(values), spread=(quartiles[0], quartiles[2]), **others)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Figure":
        """What :func:`records` wrote."""
        pairs = {name: tuple(record[name]) for name in ("spread", "goal") if record[name] is not None}
        return cls(**{**{name: value for name, value in record.items() if name != "met"}, **pairs})


def attempt(what: str, measure: Callable[[], Iterable[Figure]]) -> Iterator[Figure]:
    """Figures of one measurement as they come, and at its end, if it fails, the row that says why."""
    try:
        yield from measure()
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        yield Figure(what, error=f"{type(error).__name__}: {lines[0]}")


def records(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Figures as plain data."""
    return [{**asdict(figure), "met": figure.met} for figure in figures]


def table(figures: Iterable[Figure]) -> str:
    """Figures in Markdown."""
    lines = ["| what | measured | quartiles | goal | met |", "|---|---|---|---|---|", *map(_line, figures)]
    return "\n".join(lines) + "\n"


def _line(figure: Figure) -> str:
    what = f"{figure.what}; {figure.note}" if figure.note else figure.what
    if figure.error is not None or figure.value is None:
        cells = [what, f"error: {figure.error}", "", _goal(figure), "no"]
    else:
        spread = "" if figure.spread is None else " to ".join(map(number, figure.spread))
        met = {True: "yes", False: "no", None: ""}[figure.met]
        cells = [what, f"{number(figure.value)} {figure.unit}".strip(), spread, _goal(figure), met]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _goal(figure: Figure) -> str:
    return "" if figure.goal is None else f"{figure.goal[0]} {number(figure.goal[1])}"


def number(value: float) -> str:
    """Three significant digits, or four of a number near 1; large ones whole.

    >>> [number(value) for value in (1.0234, 0.5678, 12.345, 1234.5, 0, 0.000123)]
    ['1.023', '0.568', '12.3', '1234', '0', '0.000123']
    """
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}" if 1 <= value < 2 else f"{value:.3g}"
