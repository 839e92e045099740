"""Count the edits of an experiment, shown as a bar or not at all."""

import sys
from typing import Any, final

from tqdm import tqdm
from typing_extensions import Self


def bar(total: int | None = None, *, shown: bool) -> Any:
    """Return a bar of edits, to be used with ``with``; one that shows nothing without ``shown`` or a terminal."""
    return tqdm(total=total, unit="edit") if shown and sys.stderr.isatty() else Silent(total)


@final
class Silent:
    """Counts as a bar of tqdm does, and shows nothing.

    A bar of tqdm takes a lock even where it is disabled, and forked processes share that lock: one that is killed while it holds it
    stops all others for good.
    """

    def __init__(self, total: int | None = None):
        """Begin at 0."""
        self.n, self.total = 0, total

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def update(self, count: int = 1) -> None:
        """Count some edits."""
        self.n += count

    def refresh(self) -> None:
        """Do nothing."""

    def set_description(self, text: str, refresh: bool = True) -> None:
        """Do nothing."""

    def set_postfix_str(self, text: str) -> None:
        """Do nothing."""
