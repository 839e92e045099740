"""Handle output that cannot be written: a full disk, a reader that went away, a closed stream."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_UNWRITABLE: Final = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def open_closed() -> None:
    """Replace a standard stream that was closed (``>&-``), which Python has as None, by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def say(text: str) -> None:
    """Print on stderr, if it can be written; the exit code reports the failure too."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def is_unwritable(error: OSError) -> bool:
    """Return whether an error is of a stream that cannot be written; one of a file carries the file's name."""
    return error.filename is None and error.errno in _UNWRITABLE


def discard() -> None:
    """Point standard output at the null device, since Python flushes it once more at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
