"""Write tables in LaTeX, for booktabs."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from headrouter.experiments.metric import Column
from headrouter.experiments.published.comparison import Comparison
from headrouter.experiments.results import tables
from headrouter.experiments.results.paired import Paired
from headrouter.experiments.results.summary import Summary
from headrouter.experiments.statistics import Estimate

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": "$-$",
    "λ": r"$\lambda$",
    "²": "$^2$",
    "³": "$^3$",
    "⁴": "$^4$",
}
_GREEK: Final = {
    letter: f"$\\{unicodedata.name(letter).rpartition(' ')[2].lower()}$" for letter in "αβγδεζηθικμνξπρστφχψω"
}


def escaped(text: str) -> str:
    r"""Return a text that LaTeX prints as it is, on one line.

    >>> escaped("50 % of {x_1} & η")
    '50 \\% of \\{x\\_1\\} \\& $\\eta$'
    """
    table = _SPECIAL | _GREEK
    return "".join(table.get(letter, letter) for letter in " ".join(text.split()))


def summary_table(summaries: Sequence[Summary], columns: Mapping[str, Column], rates: set[str], origin: str) -> str:
    """Return the table of configurations: means with their 95 % intervals, the best of each column in bold.

    Args:
        summaries: Of one backbone, or of the other editors.
        columns: Those that are shown.
        rates: Columns of truths, in per cent.
        origin: Sentence for a comment: which run the table is of.
    """
    best = {name: _best([one.values[name] for one in summaries], column) for name, column in columns.items()}
    heads = ["", *(escaped(_heading(name, column, name in rates)) for name, column in columns.items())]
    rows = []
    for one in summaries:
        cells = [escaped(one.configuration)]
        for name, column in columns.items():
            text = _figure(one.values[name], column, name in rates)
            cells.append(f"\\textbf{{{text}}}" if one.values[name].value == best[name] else text)
        rows.append(cells)
    return _tabular(heads, rows, origin)


def paired_table(paired: Sequence[Paired], columns: Mapping[str, Column], rates: set[str], origin: str) -> str:
    """Return the table of differences to the baseline, edit by edit; bold where the interval does not hold 0."""
    heads = [f"minus {escaped(paired[0].baseline)}", *map(escaped, tables.paired_headings(columns, rates)[1:])]
    rows = []
    for one in paired:
        cells = [escaped(one.configuration)]
        for text, name in zip(tables.paired_cells(one, columns, rates)[1:], columns, strict=True):
            sure = one.values[name].low > 0 or one.values[name].high < 0
            cells.append(f"\\textbf{{{_interval(text)}}}" if sure else _interval(text))
        rows.append(cells)
    return _tabular(heads, rows, origin)


def published_table(found: Comparison, origin: str) -> str:
    """Return published figures and ours in one table; ours are in italics, and notes stand below."""
    rows = []
    for line in found.lines:
        cells = [f"{_interval(cell.text)}{_marks(cell.marks)}" for cell in line.cells[1:]]
        rows.append([f"\\textit{{{cell}}}" for cell in cells] if line.origin == "ours" else cells)
    heads = [escaped(one) for one in found.headings[1:]]
    notes = [f"{escaped(found.title)} ({escaped(found.source)}); ours, in italics, with 95\\,\\% intervals."]
    notes += [f"{_marks((mark,) if mark else ())}{escaped(sentence)}" for mark, sentence in found.notes]
    notes += [
        f"Missing: {escaped(line.cells[1].text)}: {escaped(line.remark)}"
        for line in found.lines
        if line.origin == "missing"
    ]
    kept = [row for row, line in zip(rows, found.lines, strict=True) if line.origin != "missing"]
    below = "\n\n".join(rf"\par\footnotesize {one}" for one in notes)
    return f"{_tabular(heads, kept, origin, texts=2)}{below}\n"


def _tabular(heads: Sequence[str], rows: Sequence[Sequence[str]], origin: str, texts: int = 1) -> str:
    """Return a ``tabular`` whose first ``texts`` columns are left-aligned."""
    lines = [
        f"% {' '.join(origin.split())}; needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{{'l' * texts}{'c' * (len(heads) - texts)}}}",
        r"\toprule",
        rf"{' & '.join(heads)} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _heading(name: str, column: Column, rate: bool) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "": ""}[column.better]
    return f"{tables.heading(name, column)}{', %' if rate else ''}{arrow}"


def _figure(estimate: Estimate, column: Column, rate: bool) -> str:
    return _interval(tables.cell(estimate, column, rate))


def _interval(text: str) -> str:
    """Return a figure with its interval in small type: ``27.5 [26.1, 28.9]``; other texts are escaped."""
    value, bracket, rest = text.partition(" [")
    return rf"{escaped(value)} {{\scriptsize [{escaped(rest)}}}" if bracket else escaped(text)


def _marks(marks: Sequence[str]) -> str:
    return rf"\textsuperscript{{{','.join(marks)}}}" if marks else ""


def _best(estimates: Sequence[Estimate], column: Column) -> float | None:
    """Return the best mean of a column; None where no side is better, or there is one value alone."""
    values = [one.value for one in estimates if one.count]
    if not column.better or len(values) < 2:
        return None
    return max(values) if column.better == "higher" else min(values)
