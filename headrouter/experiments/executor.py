"""Define executors: which workers do the cells of an experiment, and where they are."""

import abc
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from headrouter.config.configuration import Parameters

if TYPE_CHECKING:
    from headrouter.experiments.run_folder.cell import CellRecord
    from headrouter.experiments.running.station import Joining
    from headrouter.experiments.running.unit import Unit
    from headrouter.experiments.running.worker import Work


@dataclass(frozen=True, slots=True)
class Share:
    """Names pictures of a unit of work, which a worker does in one go.

    Attributes:
        unit: Number of the unit.
        pictures: Keys of pictures.
    """

    unit: int
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Holds the times of a share that a worker has done.

    Attributes:
        seconds: From beginning to end, loading included.
        loading: Of loading a model.
        error: Reason why the model could not be loaded; None if it could.
    """

    seconds: float = 0.0
    loading: float = 0.0
    error: Exception | None = None


class WorkerLostError(Exception):
    """Reports a worker whose process or machine is gone; others take its work over."""


class Member(abc.ABC):
    """Is one worker of a crew, with one model at a time.

    Attributes:
        name: For messages.
        joined: Gives the name of its process in the run folder once it is ready; empty for this process. Raises
            :class:`HeadRouterError` if it cannot take part, :class:`WorkerLostError` if it is gone.
    """

    name: str
    joined: "Future[str]"

    @abc.abstractmethod
    def start(self, share: Share) -> "Future[Report]":
        """Begin a share; its result may be :class:`WorkerLostError`."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Let it end after the edits that it is making."""


class Crew(abc.ABC):
    """Is all workers of a run.

    Attributes:
        members: Those at the beginning.
    """

    members: Sequence[Member]

    def replacement(self, lost: Member) -> Member | None:
        """Return a worker in the place of one that is lost; None, by default, leaves its work to the others."""
        return None


class Executor(Parameters, abc.ABC):
    """Sets how many workers do the cells of an experiment, and where. Results do not depend on it.

    Attributes:
        workers: Number of workers, each with a model of its own.
    """

    workers: int | None = Field(default=None, ge=1)

    @abc.abstractmethod
    def check(self, device: str) -> None:
        """Refuse what cannot work here, before anything is loaded: :class:`InvalidInputError`.

        Args:
            device: Of models; ``auto`` if it is left to the executor.
        """

    @abc.abstractmethod
    def count(self, device: str) -> int | None:
        """Return the number of workers; None if only a run finds out."""

    @abc.abstractmethod
    def crew(
        self,
        joining: "Joining",
        work: "Work",
        units: "Sequence[Unit]",
        report: "Callable[[Sequence[CellRecord]], None]",
    ) -> AbstractContextManager[Crew]:
        """Start the workers, and end them.

        Args:
            joining: All that a worker in another process must know to take part.
            work, units: For workers in this process.
            report: Receives the records that workers of this process have kept. Those of others are read in the folder.

        Raises:
            HeadRouterError: they cannot be started.
        """
