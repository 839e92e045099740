"""Print the tables of a run folder."""

from typing import TYPE_CHECKING

from headrouter.cli.table import table, terminal_width

if TYPE_CHECKING:
    from headrouter.experiments.results.report import Report


def show(report: "Report") -> None:
    """Print a report: its tables, and the names of its files."""
    for section in report.sections:
        print(f"\n{section.title}\n")
        print(table(section.headings, section.rows, terminal_width()))
    for name, count in report.failed.items():
        print(f"\n{name}: {count} edits failed. `run --retry-failed` tries them again.")
    if report.missing:
        print(f"\nno sheets of pictures: {report.missing}")
    print(f"\n{', '.join(map(str, report.files))}")
