"""Write files and folders whole or not at all: beside their place, then moved there."""

import ctypes
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from safetensors import SafetensorError

from headrouter.errors import InvalidInputError, WeightsError
from headrouter.files import remove_unfinished, unreadable

_MARK: Final = ".unfinished-"
"""In the names of the hidden folders that things are written in."""
_CHECKSUM: Final = 32
"""Bytes of the checksum at the end of a file of tensors."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary place beside ``path`` to write a file or folder to; move it there when the block succeeds.

    When the block raises, what was at ``path`` stays as it was and nothing is left behind. Of a process that is killed
    a hidden folder may stay, see :func:`finish`.

    Raises:
        InvalidInputError: it cannot be written, or a folder is where a file should go.
    """
    room = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{path.name}{_MARK}", dir=path.parent))
        made = room / path.name
        yield made
        if not (made.is_dir() and path.is_dir()):
            made.replace(path)
        elif not _exchange(made, path):
            path.replace(room / "old")
            made.replace(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"cannot write '{path}': {reason}. Make room there, or choose another folder."
        ) from error
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step, which no kill can halve; False where the system cannot."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return swap is not None and swap(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def finish(folder: Path) -> None:
    """Finish or clear away what killed processes were writing in ``folder``, where no other process may be writing now.

    A folder that was to replace another is whole once the other has made room, and takes its place.
    """
    for room in folder.glob(f".*{_MARK}*"):
        made = room / room.name[1:].rpartition(_MARK)[0]
        with suppress(OSError):
            if (room / "old").is_dir() and made.is_dir():
                made.rename(folder / made.name)  # refused where something whole is already
        shutil.rmtree(room, ignore_errors=True)
    remove_unfinished(folder)


def save_tensors(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values with :func:`torch.save` and, behind them, a checksum; atomically."""
    with replacing(path) as place, place.open("w+b") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            raise error.__context__ or error from error  # torch hides what the file said
        size = file.tell()
        file.seek(0)
        file.write(_checksum(file, size))


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what :func:`save_tensors` wrote, onto the CPU; only tensors and plain values, never code.

    Raises:
        WeightsError: the file is missing, cannot be read, or is damaged, be it in a single bit.
    """
    if not path.is_file():
        raise WeightsError(
            f"`{path}` must be a checkpoint file; there is none. Train without resuming, or name another file."
        )
    try:
        with path.open("rb") as file:
            if _checksum(file, path.stat().st_size - _CHECKSUM) != file.read():
                raise EOFError("its checksum is of other content, or missing")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(unreadable(path, error)) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"`{path}` must be a whole checkpoint; it is damaged: {error}. Delete it.") from error
    if not isinstance(state, dict):
        raise WeightsError(f"`{path}` must hold a dictionary of tensors; got {type(state).__name__}.")
    return state


def _checksum(file: BinaryIO, size: int) -> bytes:
    """Return the SHA-256 of the next ``size`` bytes, which are read."""
    digest = hashlib.sha256()
    while size > 0 and (part := file.read(min(size, 2**20))):
        digest.update(part)
        size -= len(part)
    return digest.digest()
