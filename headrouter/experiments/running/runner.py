"""Run an experiment: all that its folder lacks, by the workers of this process, beside those of others."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final, final

from tqdm import tqdm

from headrouter.errors import InvalidInputError
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder.cell import CellKey, CellRecord
from headrouter.experiments.run_folder.folder import opened
from headrouter.experiments.run_folder.process import PATIENCE
from headrouter.experiments.run_folder.record_log import named
from headrouter.experiments.running.inversions import LIMIT, KeptInversions
from headrouter.experiments.running.measuring import Metrics
from headrouter.experiments.running.unit import Unit, backbone_of, units_of
from headrouter.experiments.running.worker import NotLoadedError, Work, Worker
from headrouter.models.threads import one_thread

BATCH: Final = 8
"""Edits in a batch: enough to use a core, few enough to share out."""
_LONGEST_WAIT: Final = 2.0
"""Seconds between looks at what other processes have done."""


def run(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    items: Sequence[Item] | None = None,
    workers: int = 1,
    batch: int = BATCH,
    device: str = "auto",
    retry_failed: bool = False,
    metrics_only: bool = False,
    keep_inversions: int = LIMIT,
    patience: float = PATIENCE,
    progress: bool = True,
    report: Callable[[CellRecord], None] | None = None,
) -> list[CellRecord]:
    """Make all edits and measures of an experiment that a folder lacks.

    Several processes may run one experiment in one folder; each cell is done by one of them. A process that finds the rest in the
    hands of others waits until they are done, and takes over what a dead one leaves.

    Args:
        experiment: The experiment.
        folder: Its run folder, new or begun before.
        items: Edits of the data set; all if None.
        workers: Threads, each with a model of its own and one thread per operation.
        batch: Edits in one model call.
        device: Of models and of the networks of metrics.
        retry_failed: Try cells again that failed before.
        metrics_only: Measure the edits that are there, and make none.
        keep_inversions: Bytes of inversions that stay in the folder.
        patience: Seconds without a sign of life of a process on another machine after which its work is taken over.
        progress: Show a bar.
        report: Receives each record when it is in the folder for good.

    Returns:
        The records of the cells, also of those that failed, by configuration, seed and item. With ``metrics_only`` those of cells
        that are there.

    Raises:
        HeadRouterError: before anything is loaded, where possible; at the end, if a model could not be loaded.
    """
    for name, value in (("workers", workers), ("batch", batch)):
        if value < 1:
            raise InvalidInputError(f"`{name}` must be at least 1 (got {value}).")
    if keep_inversions < 0:
        raise InvalidInputError(f"`keep_inversions` must be a number of bytes, at least 0 (got {keep_inversions}).")
    chosen = list(experiment.items if items is None else items)
    with opened(folder, experiment, edits=not metrics_only, patience=patience) as place:
        units = units_of(experiment, dict(place.agreement.hashes), chosen, batch)
        metrics, kept = Metrics(experiment.metrics, device), KeptInversions(place, keep_inversions)
        retry = time.time() if retry_failed else 0
        work = Work(place, metrics, kept, device, not metrics_only, retry)
        with tqdm(disable=None if progress else True, unit="edit") as bar:
            _Crew(work, workers, bar, report).complete(units)
        hashes, records = place.agreement.hashes, place.log.records
        cells = [
            (one.configuration, CellKey(hashes[one.configuration.key], one.item.key, one.seed))
            for one in experiment.cells(chosen)
        ]
        return [named(records[key], one.name, backbone_of(one)) for one, key in cells if key in records]


@final
class _Crew:
    """Shares units out to workers, again and again until nothing is left."""

    def __init__(self, work: Work, workers: int, bar: Any, report: Callable[[CellRecord], None] | None):
        self._work, self._bar, self._report = work, bar, report
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._workers = [Worker(work, self._stop, self._count) for _ in range(workers)]
        self._not_loaded: dict[tuple[str, ...] | None, BaseException] = {}
        self._done = 0

    def complete(self, units: Sequence[Unit]) -> None:
        """Do all that is left."""
        left = [unit for unit in units if self._work.left(unit)]
        if left:
            self._work.metrics.load(self._work.metrics.labels - self._work.folder.agreement.frozen)
        pause = 0.05
        while left:
            self._bar.total = self._bar.n + sum(self._work.count(unit) for unit in left)
            self._bar.refresh()
            others = self._pass(left)
            self._work.folder.log.refresh()
            left = [unit for unit in others if unit.loading not in self._not_loaded and self._work.left(unit)]
            if left:
                self._bar.set_description("waiting for other processes", refresh=True)
                time.sleep(pause)
                pause = min(_LONGEST_WAIT, 1.5 * pause)
        for error in self._not_loaded.values():
            raise error

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

    def _pass(self, units: Sequence[Unit]) -> list[Unit]:
        """Go through units once; return those that other processes hold parts of."""
        queue, others = iter(units), list[Unit]()

        def alone(worker: Worker) -> None:
            with one_thread() if len(self._workers) > 1 else contextlib.nullcontext():
                work(worker)

        def work(worker: Worker) -> None:
            while not self._stop.is_set():
                with self._lock:
                    unit = next(queue, None)
                if unit is None:
                    return
                try:
                    if unit.loading not in self._not_loaded and self._work.left(unit) and not worker.do(unit):
                        others.append(unit)
                except NotLoadedError as error:
                    self._not_loaded.setdefault(unit.loading, error.__cause__ or error)
                except BaseException:
                    self._stop.set()
                    raise

        with ThreadPoolExecutor(len(self._workers), "worker") as pool:
            futures = [pool.submit(alone, worker) for worker in self._workers]
            try:
                wait(futures)
            except BaseException:  # an interrupt: what is being done is finished and kept
                self._stop.set()
                raise
        for future in futures:
            future.result()
        return others
