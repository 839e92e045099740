"""Print the report of an experiment."""

from typing import TYPE_CHECKING

from headrouter.cli.streams import say
from headrouter.cli.table import table, terminal_width

if TYPE_CHECKING:
    from headrouter.experiments.results.report import Report


def show(report: "Report") -> None:
    """Print tables, what failed, and the files that were written."""
    for section in report.sections:
        print(f"{section.title}\n\n{table(section.headings, section.rows, terminal_width())}\n")
    for one in report.comparisons:
        print(f"beside published figures: {one.title}, {one.source}\n")
        rows = [list(map(str, line.cells)) for line in one.lines]
        print(f"{table(one.headings, rows, terminal_width())}\n")
        for mark, sentence in one.notes:
            print(f"{f'{mark}: ' if mark else ''}{sentence}")
        for line in one.lines:
            if line.origin == "missing":
                print(f"missing: {line.cells[1].text}: {line.remark}")
        print()
    for name, count in report.failed.items():
        print(f"{name}: {count} edit{'s' if count > 1 else ''} failed; `headrouter experiment status` says why.")
    for problem in report.problems:
        say(problem)
    print("\n".join(map(str, report.files)))
