"""Death at every file operation, one after the other, without processes: quick, and the same each time."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}


class Killed(BaseException):
    """Raised by the first file operation that a killed process does not come to, and by every later one."""


class _Plan:
    root, left = "", 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count operations on files under the root."""
        if not self.root or event not in _EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if os.fsdecode(arguments[0]).startswith(self.root):
            self.left -= 1
            if self.left < 0:
                raise Killed


_plan = _Plan()
sys.addaudithook(_plan)  # cannot be taken back; it does nothing without a root


@contextmanager
def _killed_after(operations: int, root: Path) -> Iterator[None]:
    _plan.root, _plan.left = str(root), operations
    try:
        yield
    finally:
        _plan.root = ""


def deaths(
    root: Path, work: Callable[[Path], object], begin: Callable[[Path], object] = lambda _: None
) -> Iterator[Path]:
    """Do ``work`` in a new folder again and again, killed one file operation later each time; ends when it is done unharmed.

    ``begin`` puts into each folder what is there before.

    Nothing is cleaned up by a killed one, for the operations of cleaning up fail as well. Gives the folders that are left.
    """
    for count in itertools.count():
        folder = root / f"killed-after-{count}"
        folder.mkdir()
        begin(folder)
        try:
            with _killed_after(count, folder):
                work(folder)
        except Killed:
            yield folder
        else:
            yield folder
            return
