"""Open a run folder for a process that works in it: its claims, records and pictures."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Final, final

from PIL import Image

from headrouter.editing.record import picture_hash
from headrouter.errors import InvalidInputError
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder.cell import CellRecord, Failure, Saved
from headrouter.experiments.run_folder.claims import Claims
from headrouter.experiments.run_folder.lock import Agreement, agree
from headrouter.experiments.run_folder.process import INTERVAL, PATIENCE, Heartbeat, Processes, died_here, new_name
from headrouter.experiments.run_folder.record_log import RECORDS, RecordLog
from headrouter.files import refuse_occupied, remove_unfinished
from headrouter.imaging.picture import load_picture, writable_folder

CLAIMS, PROCESSES, UNFINISHED = "claims", "processes", "unfinished"
DIAGNOSTICS: Final = "diagnostics"


@final
@dataclass(frozen=True, eq=False)
class Done:
    """Holds what is to be kept of a cell.

    Attributes:
        record: Without what is said by the rest.
        key: Path of the cell in the folder, ``sd3.5/rf/0/KEY``.
        image: The edited picture, if one was made now.
        maps: Content of the file of its maps; empty for none.
        tracebacks: Of the record's failures.
    """

    record: CellRecord
    key: str
    image: Image.Image | None = None
    maps: bytes = b""
    tracebacks: Mapping[str, str] = field(default_factory=dict)


@final
class RunFolder:
    """Gives one process access to a run folder; see :func:`opened`.

    Attributes:
        path: The folder.
        name: Name of this process.
        agreement: Hashes of the configurations in it.
        log: Records of all processes.
        claims: Claims of this process.
        processes: The others.
        heartbeat: Sign of life of this process.
    """

    def __init__(self, path: Path, name: str, agreement: Agreement, processes: Processes, heartbeat: Heartbeat):
        """Read the records."""
        self.path, self.name, self.agreement = path, name, agreement
        self.processes, self.heartbeat = processes, heartbeat
        self._room = path / UNFINISHED / name
        self.claims = Claims(path / CLAIMS, self._room, name, processes)
        self.log = RecordLog(path / RECORDS, name)

    def keep(self, results: Sequence[Done]) -> list[CellRecord]:
        """Write pictures and tracebacks, then the records; when this returns they are done for good.

        Raises:
            InvalidInputError: they cannot be written; what is there is whole.
        """
        records = []
        for one in results:
            record = replace(one.record, at=time.time(), process=self.name)
            if one.image is not None:
                file = f"pictures/{one.key}.png"
                self.write(file, _png(one.image))
                record = replace(record, saved=Saved(file, picture_hash(one.image)))
            if one.maps:
                record = replace(record, maps=f"{DIAGNOSTICS}/{one.key}.json")
                self.write(record.maps, one.maps)
            failures = dict(record.failures)
            for during, text in one.tracebacks.items():
                file = f"failures/{one.key}.{during}.txt"
                self.write(file, text.encode())
                failures[during] = Failure(failures[during].type, failures[during].sentence, file)
            records.append(replace(record, failures=failures))
        if records:
            self.log.append(records)
        return records

    def tidy(self) -> None:
        """Remove the claims, signs of life and unfinished files of dead processes."""
        self.claims.tidy()
        self.processes.forget_buried(self.claims.owners().values())
        _tidy(self.path)

    def write(self, file: str, content: bytes) -> Path:
        """Write a file of the folder, whole or not at all, to the disk.

        Raises:
            InvalidInputError: it cannot be written.
        """
        path, new = self.path / file, self._room / uuid.uuid4().hex
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(path)
        except OSError as error:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise InvalidInputError(
                f"cannot write '{path}': {error.strerror or error}. Make room, and start again to continue."
            ) from error
        return path

    def picture(self, record: CellRecord) -> Image.Image:
        """Return the edited picture of a cell.

        Raises:
            InvalidInputError: it is missing, damaged, or not the one that was written with the record.
        """
        return picture_of(self.path, record)


def picture_of(folder: Path, record: CellRecord) -> Image.Image:
    """Return the edited picture of a cell of a run folder.

    Raises:
        InvalidInputError: there is none, or it is not the one that was written with the record.
    """
    if record.saved is None:
        raise InvalidInputError(f"the cell {record.configuration}, {record.item}, seed {record.seed} has no picture.")
    picture = load_picture(folder / record.saved.file)
    if picture_hash(picture) != record.saved.sha256:
        raise InvalidInputError(
            f"'{folder / record.saved.file}' is not the picture that was written with its record. Remove the record's line in "
            f"'{folder / RECORDS}', and the cell is done again."
        )
    return picture


@contextmanager
def opened(
    path: str | os.PathLike[str],
    experiment: Experiment,
    *,
    edits: bool = True,
    patience: float = PATIENCE,
    interval: float = INTERVAL,
) -> Iterator[RunFolder]:
    """Open a run folder, new or begun by the same experiment, and leave it tidy.

    Args:
        path: The folder.
        experiment: The experiment, see :func:`~headrouter.experiments.run_folder.lock.agree`.
        edits: Whether edits are to be made.
        patience, interval: Of heartbeats, see :mod:`headrouter.experiments.run_folder.process`.

    Raises:
        InvalidInputError: a folder of something else, or damaged; nothing is overwritten.
    """
    folder, name = writable_folder(path), new_name()
    for one in (RECORDS, CLAIMS, PROCESSES, UNFINISHED, "pictures", "failures", "configurations", "metrics"):
        refuse_occupied(folder / one, folder=True)
    room = folder / UNFINISHED / name
    _tidy(folder)
    try:
        with _writing(folder):
            room.mkdir(parents=True)
        agreement = agree(folder, room, experiment, edits=edits)
        with _writing(folder):
            for one in (RECORDS, CLAIMS, PROCESSES):
                (folder / one).mkdir(exist_ok=True)
        processes = Processes(folder / PROCESSES, patience)
        heartbeat = Heartbeat(folder / PROCESSES, name, interval)
        with _writing(folder):
            heartbeat.beat()
        with heartbeat:
            opened_folder = RunFolder(folder, name, agreement, processes, heartbeat)
            opened_folder.tidy()
            try:
                yield opened_folder
            finally:
                opened_folder.claims.release_all()
    finally:
        shutil.rmtree(room, ignore_errors=True)
        if not (folder / RECORDS).exists():  # refused
            with suppress(OSError):
                (folder / UNFINISHED).rmdir()


def _tidy(folder: Path) -> None:
    """Remove what processes that died on this machine were writing, and their signs of life."""
    for place in (folder, folder / RECORDS):
        remove_unfinished(place)
    for room in (folder / UNFINISHED).glob("*"):
        if died_here(room.name):
            shutil.rmtree(room, ignore_errors=True)
    for path in (folder / PROCESSES).glob("*"):
        if died_here(path.name.removesuffix(".new").removesuffix(".json")):
            with suppress(OSError):
                path.unlink()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            f"cannot write in '{folder}': {error.strerror or error}. Make room, and start again to continue."
        ) from error


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return file.getvalue()
