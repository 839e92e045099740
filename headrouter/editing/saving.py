"""Replace files that belong together, so that no kill leaves a record beside another edit's pictures.

Everything is first written beside its place. Then, which takes a moment, the record goes, the old files go, the new ones take their
names, and the new record comes last. Meanwhile a hidden file counts the edits, so that whoever saves next clears away what a killed
process left.
"""

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from filelock import FileLock

from headrouter.errors import InvalidInputError
from headrouter.files import UNFINISHED, refuse_occupied

_COUNT: Final = ".headrouter-count"
_LOCK: Final = ".headrouter-saving"
_PATIENCE: Final = 60.0
"""Seconds to wait for another process that saves in the same folder."""
_NUMBERED: Final = re.compile(r"(edit|mask|sheet|reference)-([0-9]{1,9})\.png")
Counts: TypeAlias = tuple[int, int]
"""Numbers of edits, counted from 0 in names of files, and of reference pictures, counted from 1."""
_NONE: Final = (0, 0)


def save_together(
    folder: Path, files: Mapping[str, bytes], counts: Counts = _NONE, before: Callable[[], Counts] = lambda: _NONE
) -> None:
    """Replace files of a folder; the last of ``files`` is the record, which is removed first and written last.

    Args:
        folder: An existing folder.
        files: Contents by name.
        counts: Of edits and reference pictures among the files.
        before: Returns those of the record that is replaced; their pictures that have no successor are removed.

    Raises:
        InvalidInputError: they cannot be written; then what was there is still there, unless it failed amid the renaming.
    """
    record = [*files][-1]
    path, made = folder / record, dict[str, Path]()
    try:
        if not folder.is_dir():
            raise NotADirectoryError(0, "its folder is not there")
        with _alone(folder):
            try:
                for name, content in files.items():
                    path = folder / name
                    if path.is_dir():
                        raise IsADirectoryError(0, "a folder is in its place")
                    made[name] = folder / f"{UNFINISHED}{uuid.uuid4().hex}"
                    _write(made[name], content)
                if len(files) > 1:
                    _make_room(folder, record, counts, before())
                for name in files:
                    path = folder / name
                    if name == record:
                        _sync(folder)
                    made[name].replace(path)
                (folder / _COUNT).unlink(missing_ok=True)
                _sync(folder)
            finally:
                for unfinished in made.values():
                    with suppress(OSError):
                        unfinished.unlink(missing_ok=True)
    except InvalidInputError:
        raise
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"cannot write '{path}': {getattr(error, 'strerror', None) or error}.") from error


def _make_room(folder: Path, record: str, counts: Counts, before: Counts) -> None:
    """Remove the old record, and pictures that it or a save that was killed may have left."""
    count = folder / _COUNT
    refuse_occupied(count)
    if count.is_symlink():
        count.unlink()  # or what it leads to would be written over
    with suppress(OSError, ValueError):
        edits, *references = map(
            int, count.read_text(encoding="ascii").split()
        )  # an older headrouter counted edits alone
        before = _larger(before, (edits, sum(references)))
    count.write_text(" ".join(map(str, _larger(counts, before))), encoding="ascii")
    (folder / record).unlink(missing_ok=True)
    _sync(folder)
    for path in folder.iterdir():
        numbered = _NUMBERED.fullmatch(path.name)
        if numbered and not path.is_dir():
            kind, number = numbered[1], int(numbered[2])
            if 1 <= number <= before[1] if kind == "reference" else number < before[0]:
                path.unlink()


def _larger(one: Counts, other: Counts) -> Counts:
    return max(one[0], other[0]), max(one[1], other[1])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, and clear away what killed processes were writing."""
    refuse_occupied(folder / _LOCK)
    lock = FileLock(folder / _LOCK, timeout=_PATIENCE)
    try:
        lock.acquire()
    except TimeoutError as error:
        raise OSError(0, "another process is writing there and does not end") from error
    except (
        OSError,
        NotImplementedError,
    ):  # a file system without locks, or a full one: an edit is worth more than the lock
        yield
        return
    try:
        for path in folder.glob(f"{UNFINISHED}*"):
            with suppress(OSError):
                path.unlink()
        yield
    finally:
        try:
            with suppress(OSError):  # while it is locked; Windows does so afterwards
                (folder / _LOCK).unlink()
        finally:
            lock.release()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Bring changes of names to the disk, in this order, where the system can."""
    with suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
