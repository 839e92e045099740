"""Check paths that users give, and write files whole or not at all."""

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from headrouter.errors import InvalidInputError

UNFINISHED = ".headrouter-unfinished-"
"""Begins the names of files that are being written, where :func:`headrouter.editing.saving.save_together` clears them away."""
LARGEST_TEXT = 2**26
"""Bytes of the largest file of text that is read."""


def path_of(value: object, name: str) -> Path:
    """Return a path that a user gave; ``name`` is the parameter, for messages.

    Raises:
        InvalidInputError: it is no path, or one that this system cannot have.
    """
    if isinstance(value, str | os.PathLike):
        try:
            path = Path(os.fsdecode(value))
            path.exists()  # refuses a zero in the name on some versions of Python, and a name that is too long
            if "\0" not in str(path):
                return path
        except (OSError, TypeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InvalidInputError(f"`{name}` {value!r} cannot be a path here: {reason}.") from error
    raise InvalidInputError(f"`{name}` must be a path (got {value!r}).")


def write_whole(path: Path, content: bytes) -> Path:
    """Write beside ``path`` and rename, so that a reader never finds a part of a file.

    Raises:
        InvalidInputError: it cannot be written.
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"cannot write '{path}': {getattr(error, 'strerror', None) or error}.") from error
    finally:
        with suppress(OSError, ValueError):
            unfinished.unlink(missing_ok=True)
    return path


def read_file(path: Path, name: str, largest: int) -> bytes:
    """Read a file; ``name`` is the parameter, for messages.

    Raises:
        InvalidInputError: not there, a folder, larger than ``largest`` bytes, or a device or a pipe, which may never end.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InvalidInputError(f"`{name}` '{path}' is a device or a pipe; give a file.")
        size = path.stat().st_size
        if size <= largest:
            return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"cannot read `{name}` '{path}': {reason}. Check the path.") from error
    raise InvalidInputError(f"`{name}` '{path}' has {size} bytes; at most {largest} are read. Check the path.")


def unreadable(path: Path, error: OSError) -> str:
    """Return the message for a file that the system does not let be read, which need not be damaged."""
    return f"cannot read '{path}': {error.strerror or error}. Check its permissions and its disk."


def refuse_occupied(path: Path, *, folder: bool = False) -> None:
    """Refuse a place that holds something else than a file, or than a folder, such as a pipe.

    Raises:
        InvalidInputError: naming what is there; a link that leads nowhere counts, nothing at all does not.
    """
    if not os.path.lexists(path) or (path.is_dir() if folder else path.is_file()):
        return
    kinds = ((path.is_dir, "a folder"), (path.is_file, "a file"), (path.exists, "a device or a pipe"))
    there = next((kind for is_it, kind in kinds if is_it()), "a link that leads nowhere")
    raise InvalidInputError(
        f"'{path}' must be {'a folder' if folder else 'a file'}, or not be there yet (got {there}). Move it away."
    )


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of :func:`write_whole` in ``folder``, where no other process may be writing now."""
    for path in folder.glob(".*"):
        if path.name.startswith(UNFINISHED) or re.fullmatch(r"\.[0-9a-f]{32}", path.name):
            with suppress(OSError):
                path.unlink()
