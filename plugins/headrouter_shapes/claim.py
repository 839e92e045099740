"""Let one process at a time work in a folder of results."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from headrouter.errors import InvalidInputError
from headrouter.files import refuse_occupied


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock ``folder`` until the block ends; the lock of a process that dies is free again.

    The thread that has claimed it may do so again within.

    Raises:
        InvalidInputError: another process or thread is at work there, or the folder cannot be locked.
    """
    path = folder / ".in-use"
    refuse_occupied(path)
    lock = FileLock(path, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise InvalidInputError(
            f"the output folder '{folder}' is in use by another run. Wait until it ends, or choose another folder."
        ) from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"the output folder '{folder}' cannot be locked: {reason}. Choose another.") from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # while it is locked; Windows does so afterwards
                path.unlink()
        lock.release()
