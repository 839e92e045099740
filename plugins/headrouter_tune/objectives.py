"""Read the two columns that a search is for, and which of their values are better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from headrouter.errors import InvalidInputError
from headrouter.experiments.metric import Column
from headrouter.experiments.results.rows import Row, is_rate
from headrouter.experiments.results.summary import estimate
from headrouter.experiments.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Objective:
    """Names a column of a metric that has a better side.

    Attributes:
        name: Of the column, behind the label of its metric: ``shapes-1.success``.
        column: Its description.
    """

    name: str
    column: Column

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Return whether its larger or its smaller values are the better ones."""
        return "minimize" if self.column.better == "lower" else "maximize"

    @property
    def metric(self) -> str:
        """Return the label of its metric."""
        return self.name.rpartition(".")[0]

    def estimated(self, rows: Sequence[Row]) -> Estimate:
        """Return the rate or the mean of the edits of a configuration."""
        return estimate(rows, self.name, self.column, is_rate(rows, self.name))


def read_objectives(names: Sequence[str], columns: Mapping[str, Column], place: str) -> tuple[Objective, Objective]:
    """Return the columns that are meant by two names: ``shapes-1.success``, or ``success``, or a title, where it is the only one.

    Raises:
        InvalidInputError: there is no such column, several, one without a better side, or the same one twice.
    """
    found, wrong = list[Objective](), list[str]()
    for name in names:
        known = [one for one in columns if name == one]
        known = known or [one for one, column in columns.items() if name in (one.rpartition(".")[2], column.title)]
        with_side = ", ".join(one for one, column in columns.items() if column.better) or "none"
        if len(known) > 1:
            wrong.append(f"{name!r} is a column of several metrics. Say which: {', '.join(known)}.")
        elif not known:
            close = get_close_matches(name, [*columns, *(one.rpartition(".")[2] for one in columns)], n=1)
            advice = f"Did you mean {close[0]!r}?" if close else f"Known: {with_side}."
            wrong.append(f"no metric of the file has a column {name!r}. {advice}")
        elif not columns[known[0]].better:
            wrong.append(
                f"of {known[0]!r} neither side is better, so nothing can be searched by it. Choose of: {with_side}."
            )
        else:
            found.append(Objective(known[0], columns[known[0]]))
    if not wrong and found[0].name == found[1].name:
        wrong.append(f"{found[0].name!r} is there twice. Give two different columns.")
    if wrong:
        raise InvalidInputError("\n".join(f"{place}: `objectives`: {one}" for one in wrong))
    return found[0], found[1]
