"""Plain-text tables that fit the terminal."""

import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

from headrouter.errors import printable

GAP = "  "
NARROWEST = 8


def terminal_width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere, where a row that stays one line can be searched."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lay out rows under headings; where ``width`` is too small, the widest columns wrap, if possible between words.

    >>> print(table(["name", "summary"], [["flux", "a transformer of two kinds"], ["sd3", "another"]], width=20))
    name  summary
    ----  --------------
    flux  a transformer
          of two kinds
    sd3   another
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    for narrowest in (words, [NARROWEST] * len(columns)):
        while width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width:
            wide = [index for index, least in enumerate(narrowest) if widths[index] > least]
            if not wide:
                break
            widths[max(wide, key=lambda index: widths[index])] -= 1
    lines = [headings, ["-" * each for each in widths], *rows]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = [wrap(cell, column, break_on_hyphens=False) or [""] for cell, column in zip(cells, widths, strict=True)]
    return "\n".join(
        GAP.join(part.ljust(column) for part, column in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*columns, fillvalue="")
    )
