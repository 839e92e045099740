"""Put published figures and our own into one table, each with its protocol."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final, Literal

from headrouter.experiments.configuration import EDITORS, slug_of
from headrouter.experiments.metric import Column
from headrouter.experiments.published.choice import Chosen, read_chosen
from headrouter.experiments.published.table import PublishedColumn, PublishedRow
from headrouter.experiments.results import tables
from headrouter.experiments.results.summary import Summary
from headrouter.experiments.run_folder.origin import Origin

Whose = Literal["published", "ours", "missing"]
_ARROWS: Final = {"higher": " ↑", "lower": " ↓", "": ""}
_WHY: Final = {"same": "", "unconfirmed": "Protocol not known to be ours", "other": "Another protocol than ours"}
_NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """Holds a text and the marks of the notes on it.

    Attributes:
        text: The figure, or a name.
        marks: Of :attr:`Comparison.notes`.
    """

    text: str
    marks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the text with its marks behind it: ``22.90 a,c``."""
        return f"{self.text} {','.join(self.marks)}" if self.marks else self.text


@dataclass(frozen=True, slots=True)
class Line:
    """Holds one line of a comparison.

    Attributes:
        origin: Whether its figures are published, or ours; ``missing`` where nothing of ours stands beside a published line.
        cells: One for each heading.
        remark: A sentence on this line; empty without one.
    """

    origin: Whose
    cells: Sequence[Cell]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Holds a published table with our figures beside its own.

    Attributes:
        title, source: Of the published table.
        headings: Of the columns: whose, the system, its model, then a column for each metric.
        lines: Published ones, each with those of ours that stand beside it.
        notes: Mark and sentence: in what a figure's protocol is not ours, or not known to be.
    """

    title: str
    source: str
    headings: Sequence[str]
    lines: Sequence[Line]
    notes: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Describes a column of a comparison: a published one and, where we measured it, our own.

    Attributes:
        name, published: Of the published table.
        ours: Name of our column in summaries; empty if we did not measure it.
        column: How it is shown.
        scale: Factor of our values in a table: 100 for rates.
        differs: In what our metric's parameters are not those of the published figure; empty if in nothing.
    """

    name: str
    published: PublishedColumn
    ours: str
    column: Column
    scale: float = 1.0
    differs: str = ""

    def printed(self, value: float) -> str:
        """Return a published value in the unit that our column is shown in, with no more digits than were printed."""
        factor = self.published.factor * self.scale if self.ours else 1.0
        digits = max(0, self.published.digits - round(math.log10(factor)))
        return f"{value * factor:.{digits}f}"


@dataclass(slots=True)
class _Notes:
    """Gives the same mark to the same sentence: a, b, …, z, aa, ab."""

    marks: dict[str, str] = field(default_factory=dict)

    def cell(self, text: str, *sentences: str) -> Cell:
        """Return a cell with the marks of sentences; empty ones have none."""
        return Cell(text, tuple(self._mark(one) for one in sentences if one))

    def _mark(self, sentence: str) -> str:
        if sentence not in self.marks:
            more, place = divmod(len(self.marks), len(ascii_lowercase))
            self.marks[sentence] = (ascii_lowercase[more - 1] if more else "") + ascii_lowercase[place]
        return self.marks[sentence]


def comparisons(
    folder: Path, known: Origin, summaries: Sequence[Summary], columns: Mapping[str, Column], rates: set[str]
) -> list[Comparison]:
    """Return a comparison for each published table that the run folder's experiment names.

    Args:
        folder: The run folder.
        known: What made its results.
        summaries: Of our configurations.
        columns: Of all metrics, by their names in summaries.
        rates: Columns of truths.

    Raises:
        InvalidInputError: the file with the tables is damaged.
    """
    return [_compared(one, known, summaries, columns, rates) for one in read_chosen(folder)]


def _compared(
    chosen: Chosen, known: Origin, summaries: Sequence[Summary], columns: Mapping[str, Column], rates: set[str]
) -> Comparison:
    table, choice, notes = chosen.table, chosen.choice, _Notes()
    places = list(_places(chosen, known, columns, rates))
    lines = []
    for name, row in table.rows.items():
        lines.append(_published(row, places, notes))
        beside = {ours for ours, theirs in choice.beside.items() if theirs == name}
        lines += [_ours(one, places, chosen, known, rates, notes) for one in summaries if beside & _names_of(one)]
        if name in choice.missing:
            cells = ["missing", row.system, row.model, *(_NONE for _ in places)]
            lines.append(Line("missing", list(map(Cell, cells)), choice.missing[name]))
    headings = ["whose", "system", "model", *(_heading(one, table.columns) for one in places)]
    source = f"{table.source}; {table.edits} edits of {' and '.join(table.datasets)}"
    remarks = [("", table.remark)] if table.remark else []
    return Comparison(
        table.title, source, headings, lines, [*remarks, *((mark, one) for one, mark in notes.marks.items())]
    )


def _places(chosen: Chosen, known: Origin, columns: Mapping[str, Column], rates: set[str]) -> Iterator[_Place]:
    """Yield a place for each of our columns beside which a published one stands; one alone where we have none."""
    for name, published in chosen.table.columns.items():
        found = []
        for wanted in published.beside:
            metric, _, column = wanted.rpartition(".")
            for label, made in known.metrics.items():
                ours = f"{label}.{column}"
                if str(made.get("name")).rpartition(":")[2] == metric and ours in columns:
                    scale = 100.0 if ours in rates else columns[ours].scale
                    found.append(_Place(name, published, ours, columns[ours], scale, _differing(published, made)))
        alone = Column(published.title, published.unit, published.better, published.digits)
        yield from found or [_Place(name, published, "", alone)]


def _differing(published: PublishedColumn, made: Mapping[str, Any]) -> str:
    other = [name for name, value in published.parameters.items() if made.get(name) != value]
    if not other:
        return ""
    said = ", ".join(f"`{name}` {made.get(name)!r} and not {published.parameters[name]!r}" for name in other)
    return f"{published.title}: ours is measured with {said}."


def _published(row: PublishedRow, places: Sequence[_Place], notes: _Notes) -> Line:
    cells = [Cell("published"), notes.cell(row.system, row.remark), Cell(row.model)]
    for place in places:
        value = row.values.get(place.name)
        why = _WHY[place.published.protocol]
        sentence = f"{why}. {place.published.remark}" if why else ""
        cells.append(Cell(_NONE) if value is None else notes.cell(place.printed(value), sentence))
    return Line("published", cells, row.remark)


def _ours(
    summary: Summary, places: Sequence[_Place], chosen: Chosen, known: Origin, rates: set[str], notes: _Notes
) -> Line:
    system = notes.cell(summary.configuration, _other_data(summary, chosen, known))
    cells = [Cell("ours"), system, Cell(summary.backbone or _NONE)]
    for place in places:
        estimate = summary.values.get(place.ours) if place.ours else None
        if estimate is None or not estimate.count:
            cells.append(Cell(_NONE))
        else:
            cells.append(notes.cell(tables.cell(estimate, place.column, place.ours in rates), place.differs))
    return Line("ours", cells)


def _other_data(summary: Summary, chosen: Chosen, known: Origin) -> str:
    """Return a sentence that says over which data our figures are, where that is not the data of the published ones."""
    data = known.top.get("dataset") or {}
    ours = sorted(str(one["name"]).rpartition(":")[2] for one in data.get("sets", [data]) if "name" in one)
    if ours == sorted(chosen.table.datasets) and summary.edits == chosen.table.edits:
        return ""
    return f"Ours over {summary.edits} edits of {' and '.join(ours) or 'unknown data'}."


def _names_of(summary: Summary) -> set[str]:
    return {summary.configuration, f"{slug_of(summary.backbone or EDITORS)}/{slug_of(summary.configuration)}"}


def _heading(place: _Place, published: Mapping[str, PublishedColumn]) -> str:
    return f"{tables.heading(place.name, place.column)}{_ARROWS[published[place.name].better]}"


def as_markdown(found: Sequence[Comparison]) -> str:
    """Return a section for each comparison."""
    lines: list[str] = []
    for one in found:
        lines += ["", f"## Beside published figures: {one.title}", "", f"Published in {one.source}.", ""]
        lines += tables.table(one.headings, [list(map(str, line.cells)) for line in one.lines])
        lines += ["", *(f"- {f'{mark}: ' if mark else ''}{sentence}" for mark, sentence in one.notes)]
        lines += [f"- missing: {line.cells[1].text}: {line.remark}" for line in one.lines if line.origin == "missing"]
    return "\n".join(lines) + "\n" if lines else ""


def as_csv(found: Sequence[Comparison]) -> str:
    """Return a line for each figure: table, source, whose it is, system, model, column, the figure as shown, its notes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "source", "line", "whose", "system", "model", "column", "figure", "notes"])
    for one in found:
        sentences = dict(one.notes)
        for number, line in enumerate(one.lines, 1):
            said = [sentences[mark] for mark in line.cells[1].marks] + (
                [line.remark] if line.origin == "missing" else []
            )
            for heading, cell in zip(one.headings[3:], line.cells[3:], strict=True):
                notes = " ".join([*said, *(sentences[mark] for mark in cell.marks)])
                texts = [line.cells[1].text, line.cells[2].text, heading, cell.text]
                writer.writerow([one.title, one.source, number, line.origin, *texts, notes])
    return buffer.getvalue()
