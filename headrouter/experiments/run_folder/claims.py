"""Share work among processes by claims, with nothing but the renaming of files and folders.

A claim is a folder with one file in it, named after its owner. It is made elsewhere and renamed to its place, which the system
refuses if there is a claim already. The claim of a dead process is taken by renaming the file within: of several that try, one
succeeds, and none can take a claim that has changed hands meanwhile, for names of processes are used once.

So at any time a claim has one owner. A process that another machine takes for dead and that was only paused finds its claim gone
(:meth:`Claims.holds`) before it writes a result.
"""

import os
import uuid
from contextlib import suppress
from pathlib import Path

from headrouter.errors import InvalidInputError
from headrouter.experiments.run_folder.process import Processes, died_here

_TRIES = 8


class Claims:
    """Makes, takes over and gives back the claims of one process.

    Args:
        folder: Of the claims of all processes.
        room: An own folder on the same file system to make claims in.
        name: Name of this process.
        processes: Of the folder.
    """

    def __init__(self, folder: Path, room: Path, name: str, processes: Processes):
        """Begin without claims."""
        self._folder, self._room, self._name, self._processes = folder, room, name, processes

    def take(self, key: str) -> str | None:
        """Claim ``key``, a name of a file.

        Returns:
            The dead process that had it before, empty if there is none; None if a living process has it.

        Raises:
            InvalidInputError: claims cannot be written.
        """
        try:
            return self._take(self._folder / key)
        except OSError as error:
            raise InvalidInputError(
                f"cannot write in '{self._folder}': {error.strerror or error}. Make room, and start again to continue."
            ) from error

    def _take(self, place: Path) -> str | None:
        for _ in range(_TRIES):
            owner = self._owner(place)
            if owner == self._name:
                return ""
            if owner:
                return owner if self._processes.dead(owner) and self._take_over(place, owner) else None
            with suppress(OSError):
                place.rmdir()  # an empty one, which some systems do not replace
            if self._make(place):
                return ""
        return None

    def holds(self, key: str) -> bool:
        """Return whether this process still has ``key``."""
        return self._owner(self._folder / key) == self._name

    def release(self, key: str) -> None:
        """Give ``key`` back, unless it has been taken."""
        with suppress(OSError):
            (self._folder / key / self._name).unlink()
            (self._folder / key).rmdir()

    def release_all(self) -> None:
        """Give everything back, whatever stopped the work."""
        for key, owner in self.owners().items():
            if owner == self._name:
                self.release(key)

    def tidy(self) -> None:
        """Remove the claims of processes that died on this machine."""
        for place in self._folder.iterdir():
            owner = self._owner(place)
            if owner and died_here(owner) and self._take_over(place, owner):
                self.release(place.name)

    def owners(self) -> dict[str, str]:
        """Return the owner of each claim."""
        found = {place.name: self._owner(place) for place in self._folder.iterdir()}
        return {key: owner for key, owner in found.items() if owner}

    def _make(self, place: Path) -> bool:
        new = self._room / uuid.uuid4().hex
        new.mkdir()
        (new / self._name).touch()
        try:
            new.rename(place)
        except OSError:
            if not place.exists():
                raise
            with suppress(FileNotFoundError):
                (new / self._name).unlink()
                new.rmdir()
        return self._owner(place) == self._name  # whatever a network answered that had to repeat the question

    def _take_over(self, place: Path, owner: str) -> bool:
        with suppress(FileNotFoundError):
            (place / owner).rename(place / self._name)
        return self._owner(place) == self._name

    @staticmethod
    def _owner(place: Path) -> str:
        try:
            return next(iter(os.listdir(place)), "")  # noqa: PTH208 (names alone)
        except (FileNotFoundError, NotADirectoryError):
            return ""
