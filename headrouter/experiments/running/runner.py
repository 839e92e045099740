"""Run an experiment: all that its folder lacks, by the workers of this process, beside those of others."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final, final

from headrouter.errors import HeadRouterError, InvalidInputError, reason_of
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.executor import Crew, Executor, Member, Report, Share, WorkerLostError
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.planning.estimates import pace_of
from headrouter.experiments.published.choice import FILE, as_file
from headrouter.experiments.run_folder.cell import CellKey, CellRecord
from headrouter.experiments.run_folder.folder import opened
from headrouter.experiments.run_folder.process import PATIENCE
from headrouter.experiments.run_folder.record_log import named
from headrouter.experiments.running.bar import bar
from headrouter.experiments.running.inversions import LIMIT, KeptInversions
from headrouter.experiments.running.local import executor_of
from headrouter.experiments.running.models import KeptModels
from headrouter.experiments.running.schedule import Schedule, left_of
from headrouter.experiments.running.station import Joining
from headrouter.experiments.running.unit import Unit, backbone_of, units_of
from headrouter.experiments.running.worker import Work

BATCH: Final = 8
"""Edits in a batch: enough to use a core, few enough to share out."""
_LONGEST_WAIT: Final = 2.0
"""Seconds between looks at what other processes have done."""
_DEATHS: Final = 3
"""Workers that one share may cost before the run gives it up."""
_STEPS: Final = 28
"""Stands for the cost of an edit by another editor, in steps, while nothing is known of it."""


def run(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    items: Sequence[Item] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    batch: int = BATCH,
    device: str = "auto",
    retry_failed: bool = False,
    metrics_only: bool = False,
    keep_inversions: int = LIMIT,
    patience: float = PATIENCE,
    progress: bool = True,
    report: Callable[[CellRecord], None] | None = None,
    models: KeptModels | None = None,
) -> list[CellRecord]:
    """Make all edits and measures of an experiment that a folder lacks.

    Several processes may run one experiment in one folder; each cell is done by one of them. A process that finds the rest in the
    hands of others waits until they are done, and takes over what a dead one leaves.

    Args:
        experiment: The experiment.
        folder: Its run folder, new or begun before.
        items: Edits of the data set; all if None.
        executor: Says where the workers are; that of the experiment if None, and without one this machine.
        workers: Number of workers, each with a model of its own; that of the executor if None.
        batch: Edits in one model call.
        device: Of models and of the networks of metrics.
        retry_failed: Try cells again that failed before.
        metrics_only: Measure the edits that are there, and make none.
        keep_inversions: Bytes of inversions that stay in the folder.
        patience: Seconds without a sign of life of a process on another machine after which its work is taken over.
        progress: Show a bar.
        report: Receives each record when it is in the folder for good.
        models: Holds what is loaded in this process, models and networks of metrics, for a later run; without it they go with this
            one.

    Returns:
        The records of the cells, also of those that failed, by configuration, seed and item. With ``metrics_only`` those of cells
        that are there.

    Raises:
        HeadRouterError: before anything is loaded, where possible; at the end, if a model could not be loaded.
    """
    for name, value in (("workers", workers), ("batch", batch)):
        if value is not None and value < 1:
            raise InvalidInputError(f"`{name}` must be at least 1 (got {value}).")
    if keep_inversions < 0:
        raise InvalidInputError(f"`keep_inversions` must be a number of bytes, at least 0 (got {keep_inversions}).")
    chosen_executor = executor_of(experiment, executor, workers)
    chosen_executor.check(device)
    chosen = list(experiment.items if items is None else items)
    with opened(folder, experiment, edits=not metrics_only, patience=patience) as place:
        if experiment.published or (place.path / FILE).exists():
            place.write(FILE, as_file(experiment.published))
        units = units_of(experiment, dict(place.agreement.hashes), chosen, batch)
        models, kept = models or KeptModels(), KeptInversions(place, keep_inversions)
        metrics = models.metrics(experiment.metrics, device)
        retry = time.time() if retry_failed else 0
        work = Work(place, metrics, kept, device, not metrics_only, retry, models)
        joining = Joining.of(work, experiment, tuple(item.key for item in chosen), batch, patience)
        with bar(shown=progress) as counted:
            weights = weights_of(experiment, place.log.records.values())
            _Run(work, units, weights, counted, report).complete(chosen_executor, joining)
        place.log.refresh(certain=True)
        hashes, records = place.agreement.hashes, place.log.records
        cells = [
            (one.configuration, CellKey(hashes[one.configuration.key], one.item.key, one.seed))
            for one in experiment.cells(chosen)
        ]
        return [named(records[key], one.name, backbone_of(one)) for one, key in cells if key in records]


def weights_of(experiment: Experiment, records: Iterable[CellRecord]) -> Mapping[str, float]:
    """Return the cost of an edit by its configuration: seconds if there are records of all, otherwise steps."""
    edits = pace_of(experiment, [one for one in records if one.edited], "").edits
    if all(one.key in edits for one in experiment.configurations):
        return edits
    return {
        one.key: (1 if one.still else one.steps) if isinstance(one, Configuration) else _STEPS
        for one in experiment.configurations
    }


@final
class _Run:
    """Shares units out to the workers of a crew, again and again until nothing is left."""

    def __init__(
        self,
        work: Work,
        units: Sequence[Unit],
        weights: Mapping[str, float],
        counted: Any,
        report: Callable[[CellRecord], None] | None,
    ):
        self._work, self._units, self._weights, self._bar, self._report = work, units, weights, counted, report
        self._lock = threading.Lock()
        self._members: dict[int, Member] = {}
        self._idle: list[int] = []
        self._joining: dict[Future[str], int] = {}
        self._busy: dict[Future[Report], tuple[int, Share]] = {}
        self._processes: dict[int, str] = {}
        self._deaths = Counter[int]()
        self._not_loaded: dict[tuple[str, ...] | None, Exception] = {}
        self._done = 0

    def complete(self, executor: Executor, joining: Joining) -> None:
        """Do all that is left."""
        left = self._left(range(len(self._units)))
        if not left:
            return
        with executor.crew(joining, self._work, self._units, self._count) as crew:
            for number, member in enumerate(crew.members):
                self._add(number, member)
            pause = 0.05
            while left:
                self._bar.total = self._bar.n + sum(self._work.count(unit) for unit in left.values())
                self._bar.refresh()
                self._pass(left, crew)
                self._look()
                left = self._left(left)
                if left:
                    self._bar.set_description("waiting for other processes", refresh=True)
                    time.sleep(pause)
                    pause = min(_LONGEST_WAIT, 1.5 * pause)
        if self._deaths:
            self._work.folder.tidy()
        for error in self._not_loaded.values():
            raise error

    def _add(self, number: int, member: Member) -> None:
        self._members[number] = member
        self._joining[member.joined] = number

    def _left(self, numbers: Iterable[int]) -> dict[int, Unit]:
        units = {number: self._units[number] for number in numbers}
        return {
            number: unit
            for number, unit in units.items()
            if unit.loading not in self._not_loaded and self._work.left(unit)
        }

    def _cost(self, unit: Unit) -> Mapping[str, float]:
        work = self._work
        return left_of(
            unit, self._weights, lambda job, item: work.lacks_edit(job, item) or bool(work.lacking(job, item))
        )

    def _count(self, records: Sequence[CellRecord]) -> None:
        """Show and report records."""
        with self._lock:
            self._done += len(records)
            self._work.folder.heartbeat.note(done=self._done)
            for record in records:
                if self._report is not None:
                    self._report(record)
            if records:
                self._bar.set_description(f"{records[-1].backbone} {records[-1].configuration}"[:40], refresh=False)
                self._bar.update(len(records))

    def _look(self) -> None:
        """Count what workers in other processes have written since."""
        own = set(self._processes.values())
        self._count([one for one in self._work.folder.log.refresh() if one.process in own])

    def _pass(self, units: Mapping[int, Unit], crew: Crew) -> None:
        """Go through units once; other processes may hold parts of them."""
        schedule = Schedule(units, self._cost, len(self._members))
        try:
            while True:
                for number in sorted(self._idle):
                    if (share := schedule.take(number)) is not None:
                        self._idle.remove(number)
                        self._busy[self._members[number].start(share)] = number, share
                if not self._busy and (schedule.empty or not self._joining):
                    break
                futures: list[Future[Any]] = [*self._busy, *self._joining]
                done, _ = wait(futures, _LONGEST_WAIT, FIRST_COMPLETED)
                self._settle(done, schedule, crew)
                self._look()
            if not schedule.empty:
                raise HeadRouterError("every worker is lost. What was done is kept: start again to continue.")
        except BaseException:  # an interrupt, or a full disk: what is being done is finished and kept
            for member in self._members.values():
                member.stop()
            wait(self._busy)
            raise

    def _settle(self, done: Iterable[Any], schedule: Schedule, crew: Crew) -> None:
        """Take what workers answered."""
        for future in done:
            number, share = self._busy.pop(future, (self._joining.pop(future, -1), None))
            try:
                answer = future.result()
            except WorkerLostError as error:
                self._replace(number, share, error, schedule, crew)
                continue
            if share is None:
                self._processes[number] = answer
            else:
                schedule.finished(share, answer.seconds, answer.loading)
                if answer.error is not None:
                    loading = self._units[share.unit].loading
                    self._not_loaded.setdefault(loading, answer.error)
                    schedule.drop(loading)
            self._idle.append(number)

    def _replace(
        self, number: int, share: Share | None, error: WorkerLostError, schedule: Schedule, crew: Crew
    ) -> None:
        """Let others do the share of a lost worker, and take another in its place."""
        schedule.lost(number, share)
        lost, process = self._members.pop(number), self._processes.pop(number, "")
        if process:
            self._work.folder.processes.bury(process)
        place = -1 if share is None else share.unit
        self._deaths[place] += 1
        if share is not None and self._deaths[place] >= _DEATHS:
            unit = self._units[place]
            raise HeadRouterError(
                f"{_DEATHS} workers, the last {lost.name}, died of the same edits, of the picture {share.pictures[0]!r} by "
                f"{unit.jobs[0].configuration.key!r} and what shares its inversion: {reason_of(error)}. Their memory may be too "
                "small: lower `--batch`."
            )
        if self._deaths[-1] < _DEATHS and (new := crew.replacement(lost)) is not None:
            self._add(number, new)
