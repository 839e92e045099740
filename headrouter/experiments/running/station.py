"""Take part in a run from another process: on the same folder, with a model and metrics of its own."""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import final

from headrouter.errors import HeadRouterError, InvalidInputError, reason_of
from headrouter.experiments.executor import Report, Share
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.planning.plan import missing_of
from headrouter.experiments.run_folder.folder import PROCESSES, opened
from headrouter.experiments.running.inversions import KeptInversions
from headrouter.experiments.running.models import KeptModels
from headrouter.experiments.running.unit import units_of
from headrouter.experiments.running.worker import Work, Worker


@final
@dataclass(frozen=True)
class Joining:
    """Holds all that a worker in another process must know to take part in a run; it can be pickled.

    Attributes:
        experiment: The experiment, without what this machine has computed of it: the other one looks for itself.
        folder: Run folder, an absolute path.
        process: Name, in the run folder, of the process that shares the work out.
        items: Keys of the edits.
        missing: Sentences on what is missing where the run was started, which shows when it is used.
        batch, device, edits, retry, keep_inversions, patience: As in :func:`~headrouter.experiments.running.runner.run`.
    """

    experiment: Experiment
    folder: str
    process: str
    items: tuple[str, ...]
    batch: int
    device: str
    edits: bool
    retry: float
    keep_inversions: int
    patience: float
    missing: tuple[str, ...]

    @classmethod
    def of(cls, work: Work, experiment: Experiment, items: tuple[str, ...], batch: int, patience: float) -> "Joining":
        """Describe the run of a process that has opened the folder."""
        bare = replace(experiment, configurations=tuple(map(replace, experiment.configurations)), executor=None)
        folder, kept = work.folder, work.kept.limit
        where = str(folder.path.absolute())
        missing = tuple(missing_of(experiment))
        return cls(bare, where, folder.name, items, batch, work.device, work.edits, work.retry, kept, patience, missing)


@final
class Station:
    """Does shares of a run in a process of its own, until it is closed.

    Weights, data and code are looked for where it is, and must be those of the folder.

    Args:
        joining: The run.

    Raises:
        HeadRouterError: it cannot take part here.
    """

    def __init__(self, joining: Joining):
        """Join the run."""
        self._stop, self._stack = threading.Event(), ExitStack()
        folder, experiment = Path(joining.folder), joining.experiment
        if not (folder / PROCESSES / f"{joining.process}.json").is_file():
            raise InvalidInputError(
                f"the run folder '{folder}' is not that of the run on the machine '{gethostname()}'. Give a folder on a file "
                "system that all machines share, or run `--shard I/N` on each machine and `headrouter experiment merge`."
            )
        if missing := [one for one in missing_of(experiment) if one not in joining.missing]:
            raise InvalidInputError(f"on the machine '{gethostname()}': " + "\n".join(missing))
        keys = set(joining.items)
        items = [item for item in experiment.items if item.key in keys]
        place = self._stack.enter_context(opened(folder, experiment, edits=joining.edits, patience=joining.patience))
        models, kept = KeptModels(), KeptInversions(place, joining.keep_inversions)
        metrics = models.metrics(experiment.metrics, joining.device)
        self._work = Work(place, metrics, kept, joining.device, joining.edits, joining.retry, models)
        self._units = units_of(experiment, dict(place.agreement.hashes), items, joining.batch)
        self._worker = Worker(self._work, self._stop, lambda _: None)

    @property
    def process(self) -> str:
        """Return the name of this process in the run folder."""
        return self._work.folder.name

    def do(self, share: Share) -> Report:
        """Do what is left of a share.

        Raises:
            HeadRouterError: results cannot be written.
        """
        try:
            report = self._worker.report(self._units[share.unit], share)
        except Exception as error:
            raise _portable(error) from None
        return report if report.error is None else replace(report, error=_portable(report.error))

    def stop(self) -> None:
        """End after the edits that are being made."""
        self._stop.set()

    def close(self) -> None:
        """Leave the run folder tidy."""
        self._stop.set()
        self._stack.close()


def _portable(error: Exception) -> HeadRouterError:
    """Return an error that another process can read, which may not have the class of this one."""
    return error if isinstance(error, HeadRouterError) else HeadRouterError(reason_of(error))
