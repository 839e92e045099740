"""Files that are either whole or absent: written beside their place, then moved there."""

import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from headrouter.errors import WeightsError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary place beside ``path`` to write a file or folder to; move it there when the block succeeds.

    When the block raises, what was at ``path`` stays as it was and nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield room / path.name
        if path.is_dir():
            path.replace(room / "old")
        (room / path.name).replace(path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def save_tensors(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values with :func:`torch.save`, atomically."""
    with replacing(path) as place:
        torch.save(state, place)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what :func:`save_tensors` wrote, onto the CPU; only tensors and plain values, never code.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(
            f"`{path}` must be a checkpoint file; there is none. Train without resuming, or name another file."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise WeightsError(f"`{path}` must be a whole checkpoint; it is damaged: {error}. Delete it.") from error
    if not isinstance(state, dict):
        raise WeightsError(f"`{path}` must hold a dictionary of tensors; got {type(state).__name__}.")
    return state
