"""Print plain-text tables that fit the terminal."""

import shutil
import sys
from collections.abc import Sequence

from headrouter.errors import printable


def terminal_width() -> int | None:
    """Return the columns of the terminal; None when the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lay out rows under headings; where ``width`` is too small, the widest columns wrap, if possible between words.

    >>> print(table(["name", "summary"], [["flux", "a transformer of two kinds"], ["sd3", "another"]], width=20))
    name  summary
    ----- --------------
    flux  a transformer
          of two kinds
    sd3   another
    """
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain, head = "    \n", " -  \n"
    drawn = Table(box=Box(plain * 2 + head + plain * 5), show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        drawn.add_column(Text(heading), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=width or sys.maxsize, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
