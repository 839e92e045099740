"""Print the tables of a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from headrouter.cli.table import table, terminal_width


class Section(Protocol):
    """Describes a table with its title."""

    @property
    def title(self) -> str:
        """Return the line above the table."""

    @property
    def headings(self) -> Sequence[str]:
        """Return the headings of the columns."""

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """Return the cells."""


class Report(Protocol):
    """Describes a report: its tables, the files that it has written, failed edits, and why pictures are missing."""

    @property
    def sections(self) -> Sequence[Section]:
        """Return the tables."""

    @property
    def files(self) -> Sequence[Path]:
        """Return the files."""

    @property
    def failed(self) -> Mapping[str, int]:
        """Return the number of failed edits of each configuration that has some."""

    @property
    def missing(self) -> str:
        """Return why there are no sheets of pictures; empty if there are."""


def show(report: Report) -> None:
    """Print a report: its tables, and the names of its files."""
    for section in report.sections:
        print(f"\n{section.title}\n")
        print(table(section.headings, section.rows, terminal_width()))
    for name, count in report.failed.items():
        print(f"\n{name}: {count} edits failed. `run --retry-failed` tries them again.")
    if report.missing:
        print(f"\nno sheets of pictures: {report.missing}")
    print(f"\n{', '.join(map(str, report.files))}")
