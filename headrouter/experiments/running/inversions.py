"""Keep inversions between runs, on disk, up to a size."""

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final, final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from headrouter.editing.inverted_latents import SUFFIX, InvertedLatents
from headrouter.editing.record import Record
from headrouter.errors import InvalidInputError
from headrouter.experiments.run_folder.cell import Spent
from headrouter.experiments.run_folder.folder import RunFolder
from headrouter.sampling.cost import Cost

LIMIT: Final = 1 << 30
"""Bytes of kept inversions in a run folder, about a thousand of pictures of 1024 × 1024 pixels."""
_SPENT: Final = "spent"


@final
class KeptInversions:
    """Reads and writes inverted latents in a run folder, each in a file named after the hash of all it depends on.

    Args:
        folder: The run folder.
        limit: Bytes of all files, also an attribute; those that were written first go first. 0 keeps none.
    """

    def __init__(self, folder: RunFolder, limit: int = LIMIT):
        """Look at what is there."""
        self._folder, self.limit = folder, limit
        self._place = folder.path / "inversions"
        self._bytes = sum(size for _, size, _ in self._files())

    def get(self, identity: Record) -> tuple[Tensor, Spent] | None:
        """Return latents [1, channels, h, w] and what they took; None if they are not kept, or are damaged."""
        path = self._path(identity)
        if not path.is_file():
            return None
        try:
            kept = InvertedLatents.load(path)
            with safe_open(path, framework="pt") as file:
                spent = Spent(**json.loads(file.metadata()[_SPENT]))
        except (InvalidInputError, SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None  # it is computed again, and written over
        return (kept.latents, spent) if kept.identity.hash == identity.hash else None

    def put(self, identity: Record, latents: Tensor, spent: Spent) -> None:
        """Write latents, and remove the oldest beyond the limit.

        Raises:
            InvalidInputError: they cannot be written.
        """
        cost = Cost(round(spent.calls), round(spent.rows), spent.seconds, spent.peak_memory)
        content = InvertedLatents(latents, identity, cost).packed({_SPENT: json.dumps(asdict(spent))})
        if len(content) > self.limit:
            return
        if self._bytes + len(content) > self.limit:
            self._make_room(self.limit - len(content))
        self._bytes += len(content)
        self._folder.write(f"inversions/{self._path(identity).name}", content)

    def _make_room(self, limit: int) -> None:
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= limit:
                break
            with suppress(OSError):  # another process was first
                path.unlink()
            self._bytes -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return time, size and path of each file."""
        found = []
        with suppress(OSError):
            for entry in os.scandir(self._place):
                with suppress(OSError):
                    state = entry.stat()
                    found.append((state.st_mtime_ns, state.st_size, Path(entry.path)))
        return found

    def _path(self, identity: Record) -> Path:
        return self._place / f"{identity.hash}{SUFFIX}"
