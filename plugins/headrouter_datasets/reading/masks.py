"""Read the masks of data sets: runs of places, and pictures in black and white."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from headrouter.errors import InvalidInputError
from headrouter.experiments.dataset import Mask
from headrouter.masks.reading import load_mask

_INSIDE: Final = 128


class MaskSource(Protocol):
    """Reads a mask."""

    def read(self) -> Mask:
        """Return where the edit may change the picture, bool [H, W].

        Raises:
            InvalidInputError: it is no mask.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunLengths:
    """Holds a mask as the runs of PIE-Bench: start, length, start, length, …, row after row.

    As the evaluator published with it reads them, a run that goes beyond the last place ends there, and the places along the
    border of the picture are inside. Runs may overlap.

    Args:
        runs: Starts and lengths.
        side: Pixels along each side.

    >>> RunLengths((5, 2, 14, 9), 4).read().astype(int).tolist()
    [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """

    runs: tuple[int, ...]
    side: int

    @staticmethod
    def of(values: object, side: int) -> "RunLengths":
        """Check runs; :class:`InvalidInputError` where they are none."""
        if not isinstance(values, Sequence) or not all(type(value) is int for value in values):
            raise InvalidInputError("`mask` must be a list of whole numbers.")
        if len(values) % 2:
            raise InvalidInputError(f"`mask` must be pairs of start and length (got {len(values)} numbers).")
        if min(values, default=0) < 0 or max(values[::2], default=0) >= side**2:
            raise InvalidInputError(f"`mask` must have starts within 0 … {side**2 - 1}, and lengths from 0.")
        return RunLengths(tuple(values), side)

    def read(self) -> Mask:
        """Return the mask."""
        inside = np.zeros(self.side**2, dtype=np.bool_)
        for start, length in zip(self.runs[::2], self.runs[1::2], strict=True):
            inside[start : start + length] = True
        mask: Mask = inside.reshape(self.side, self.side)
        mask[[0, -1]] = True
        mask[:, [0, -1]] = True
        return mask


@dataclass(frozen=True, slots=True)
class MaskFile:
    """Holds the file of a mask, white where the edit may act."""

    path: Path

    def read(self) -> Mask:
        """Return the mask: true where it is at least half white."""
        inside: Mask = np.asarray(load_mask(self.path)) >= _INSIDE
        return inside
