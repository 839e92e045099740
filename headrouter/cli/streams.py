"""Output that cannot be written: a full disk, a reader that went away, a stream that was closed before the start."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_UNWRITABLE: Final = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def open_closed() -> None:
    """Let what is said on a stream that was closed (``>&-``), which Python has as None, go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def say(text: str) -> None:
    """Print on stderr, if that is possible: the exit code says it, too."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def is_unwritable(error: OSError) -> bool:
    """Whether a stream could not be written; an error with files carries the file's name."""
    return error.filename is None and error.errno in _UNWRITABLE


def discard() -> None:
    """Give what Python flushes once more at exit somewhere to go."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
