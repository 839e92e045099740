"""Plain-text tables that fit the terminal."""

import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

GAP = "  "
NARROWEST = 8


def terminal_width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere, where a row that stays one line can be searched."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lay out rows under headings; where ``width`` is too small, the widest columns wrap.

    >>> print(table(["name", "summary"], [["flux", "a transformer of two kinds"], ["sd3", "another"]], width=20))
    name  summary
    ----  --------------
    flux  a transformer
          of two kinds
    sd3   another
    """
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    while width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    rule = ["-" * column for column in widths]
    return "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = [wrap(cell, column) or [""] for cell, column in zip(cells, widths, strict=True)]
    return "\n".join(
        GAP.join(part.ljust(column) for part, column in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*columns, fillvalue="")
    )
