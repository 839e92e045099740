"""Append records to a file of this process's own, and read those of all processes as they grow."""

import errno
import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from headrouter.errors import InvalidInputError
from headrouter.experiments.run_folder.cell import CellKey, CellRecord

RECORDS: Final = "records"
SUFFIX: Final = ".jsonl"


class RecordLog:
    """Holds the records of a run folder: the union of the files of all processes.

    A last line without its end is being written, or was cut off by a kill; it does not count.

    Args:
        folder: Of the files.
        name: Of this process.
        damaged: Receives a sentence for each damaged line, which is left out then; without it such a line is an error.

    Raises:
        InvalidInputError: naming file and line that are damaged.
    """

    def __init__(self, folder: Path, name: str = "", damaged: list[str] | None = None):
        """Read what is there."""
        self._folder, self._name, self._damaged = folder, name, damaged
        self._read: dict[str, tuple[int, int]] = {}  # by file: bytes, and lines
        self._records: dict[CellKey, CellRecord] = {}
        self._lock = threading.RLock()
        self.refresh()

    @property
    def records(self) -> Mapping[CellKey, CellRecord]:
        """Return what is on record of each cell; read it, do not change it."""
        return self._records

    def refresh(self, *, certain: bool = False) -> list[CellRecord]:
        """Read and return what other processes have written since.

        Args:
            certain: Make a file beside theirs and remove it, so that a network's file system forgets what it knew.
        """
        found: list[CellRecord] = []
        with self._lock:
            try:
                if certain:
                    probe = self._folder / f".{uuid.uuid4().hex}"
                    probe.touch()
                    probe.unlink(missing_ok=True)  # another process may be tidying up
                names = sorted(entry.name for entry in os.scandir(self._folder) if entry.name.endswith(SUFFIX))
            except FileNotFoundError:
                names = []
            except OSError as error:
                raise InvalidInputError(f"cannot read '{self._folder}': {error.strerror or error}.") from error
            for name in names:
                found += self._refresh(name)
        return found

    def append(self, records: Iterable[CellRecord]) -> None:
        """Write lines behind those of this process, to the disk, and take back what a full disk cut off.

        Raises:
            InvalidInputError: they cannot be written; what was there is whole.
        """
        every = list(records)
        content = "".join(f"{one.line()}\n" for one in every).encode()
        path = self._folder / f"{self._name}{SUFFIX}"
        with self._lock:
            whole, lines = self._read.get(path.name, (0, 0))
            try:
                with path.open("ab", buffering=0) as file:
                    file.truncate(whole)
                    try:
                        if file.write(content) < len(content):
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                        os.fsync(file.fileno())
                    except OSError:
                        file.truncate(whole)
                        raise
            except OSError as error:
                raise InvalidInputError(
                    f"cannot write '{path}': {error.strerror or error}. Make room, and start again to continue."
                ) from error
            for number, line in enumerate(content.splitlines(), lines + 1):
                self._add(line, path, number)
            self._read[path.name] = whole + len(content), lines + len(every)

    def _refresh(self, name: str) -> list[CellRecord]:
        path = self._folder / name
        begin, lines = self._read.get(name, (0, 0))
        try:
            with path.open("rb") as file:  # a network's file system says the true size on opening
                if os.fstat(file.fileno()).st_size <= begin:
                    return []
                file.seek(begin)
                content = file.read()
        except OSError as error:
            raise InvalidInputError(f"cannot read '{path}': {error.strerror or error}.") from error
        whole = content[: content.rfind(b"\n") + 1]
        read = [self._add(line, path, number) for number, line in enumerate(whole.splitlines(), lines + 1)]
        self._read[name] = begin + len(whole), lines + len(read)
        return [one for one in read if one is not None]

    def _add(self, line: bytes, path: Path, number: int) -> CellRecord | None:
        place = f"{path}:{number}"
        try:
            record = CellRecord.read(line, path.stem)
            known = self._records.get(record.cell)
            self._records[record.cell] = record if known is None else known.joined(record)
            return record
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            sentence = f"{place}: damaged line: {error}."
            if self._damaged is None:
                advice = "Nothing was overwritten: delete the line, and its cell is done again."
                raise InvalidInputError(f"{sentence} {advice}") from error
            self._damaged.append(sentence)
            return None


def named(record: CellRecord, configuration: str, backbone: str) -> CellRecord:
    """Return a record under the names of a configuration: two of one hash share their cells."""
    if (record.configuration, record.backbone) == (configuration, backbone):
        return record
    return replace(record, configuration=configuration, backbone=backbone)
