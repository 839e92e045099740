"""Do units of work: claim pictures, edit, measure, and keep the results."""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from PIL import Image

from headrouter.errors import reason_of
from headrouter.experiments.dataset import Item
from headrouter.experiments.executor import Report, Share
from headrouter.experiments.metric import Measured
from headrouter.experiments.run_folder.cell import EDIT, CellRecord, Failure, Spent
from headrouter.experiments.run_folder.folder import Done, RunFolder
from headrouter.experiments.running.editing.hand import Hand, Made, PictureHand, attempted
from headrouter.experiments.running.editing.loading import load
from headrouter.experiments.running.editing.model_hand import ModelHand
from headrouter.experiments.running.inversions import KeptInversions
from headrouter.experiments.running.measuring import Metrics
from headrouter.experiments.running.models import KeptModels
from headrouter.experiments.running.small_maps import as_bytes
from headrouter.experiments.running.unit import Job, Unit, backbone_of


@final
class NotLoadedError(Exception):
    """Reports a model that could not be loaded; its cause says why."""


@final
@dataclass(frozen=True, eq=False)
class Work:
    """Says what is to be done in a folder, and by which means.

    Attributes:
        folder: The run folder, opened.
        metrics: Of the experiment.
        kept: Kept inversions.
        device: Of models.
        edits: Whether edits are made; otherwise those that are there are measured.
        retry: Failures that are older than this moment, seconds since 1970, are tried again; 0 for none.
        models: Loaded models that no worker uses.
    """

    folder: RunFolder
    metrics: Metrics
    kept: KeptInversions
    device: str
    edits: bool
    retry: float
    models: KeptModels

    def left(self, unit: Unit) -> bool:
        """Return whether anything of a unit is to be done."""
        return self.count(unit) > 0

    def count(self, unit: Unit) -> int:
        """Return the number of cells of a unit that are to be edited or measured."""
        return sum(
            bool(self.lacks_edit(job, item) or self.lacking(job, item)) for job in unit.jobs for item in unit.items
        )

    def lacks_edit(self, job: Job, item: Item) -> bool:
        """Return whether a cell is to be edited."""
        record = self.folder.log.records.get(job.key(item))
        return self.edits and (record is None or (not record.edited and self._again(record)))

    def lacking(self, job: Job, item: Item) -> frozenset[str]:
        """Return the metrics by which a finished edit is to be measured."""
        record = self.folder.log.records.get(job.key(item))
        if record is None or not record.edited:
            return frozenset()
        tried = {} if self._again(record) else record.failures
        return self.metrics.labels - self.folder.agreement.frozen - {*record.measures, *tried}

    def _again(self, record: CellRecord) -> bool:
        return bool(record.failures) and record.at < self.retry


@final
class Worker:
    """Works in one thread, with a model of its own, which stays until another is needed."""

    def __init__(self, work: Work, stop: threading.Event, report: Callable[[Sequence[CellRecord]], None]):
        """Begin without a model; ``report`` receives records when they are kept."""
        self._work, self._stop, self._report = work, stop, report
        self._loading: tuple[str, ...] | None = None
        self._hand: Hand = PictureHand()
        self._loaded_in = 0.0

    def report(self, unit: Unit, share: Share) -> Report:
        """Do what is left of a share of a unit, and say how long it took.

        Raises:
            HeadRouterError: results cannot be written.
        """
        began, self._loaded_in = time.perf_counter(), 0.0
        error: Exception | None = None
        self._work.metrics.load(self._work.metrics.labels - self._work.folder.agreement.frozen)
        try:
            self.do(unit.part(share.pictures))
        except NotLoadedError as found:
            assert isinstance(found.__cause__, Exception)
            error = found.__cause__
        return Report(time.perf_counter() - began, self._loaded_in, error)

    def do(self, unit: Unit) -> bool:
        """Do what is left of a unit; return whether it is whole now, no part being left to another process."""
        work, claims = self._work, self._work.folder.claims
        owners = {unit.claim(item): claims.take(unit.claim(item)) for item in unit.items}
        held = {key: owner for key, owner in owners.items() if owner is not None}
        try:
            if held:
                work.folder.log.refresh(certain=True)  # what others finished before they gave their claims back
                items = [item for item in unit.items if unit.claim(item) in held]
                pictures = _Pictures(items)
                for job in unit.jobs:
                    if not self._stop.is_set():
                        self._edit(unit, job, [item for item in items if work.lacks_edit(job, item)], pictures, held)
                        self._measure(unit, job, [item for item in items if work.lacking(job, item)], pictures, held)
        finally:
            for key in held:
                claims.release(key)
        return not work.left(unit)

    def _edit(
        self, unit: Unit, job: Job, items: Sequence[Item], pictures: "_Pictures", held: Mapping[str, str]
    ) -> None:
        if not items:
            return
        results: dict[str, Made | Exception] = dict(pictures.failed(items))
        good = [item for item in items if item.key not in results]
        if good:
            hand = self._loaded(unit)
            made = attempted(lambda some: hand.edit(unit, job, some, pictures.read), good)
            results |= zip((item.key for item in good), made, strict=True)
        edited = [(item, one) for item in items if isinstance(one := results[item.key], Made)]
        labels = self._work.metrics.labels - self._work.folder.agreement.frozen
        measured = [Measured(item, pictures.read[item.picture_key], one.image) for item, one in edited]
        rows = self._work.metrics.measure(measured, labels)
        done = [_done(job, item, row, one) for (item, one), row in zip(edited, rows, strict=True)]
        done += [_done(job, item, {EDIT: error}) for item in items if isinstance(error := results[item.key], Exception)]
        self._keep(unit, done, {item.key: unit.claim(item) for item in items}, held)

    def _measure(
        self, unit: Unit, job: Job, items: Sequence[Item], pictures: "_Pictures", held: Mapping[str, str]
    ) -> None:
        if not items:
            return
        log, metrics = self._work.folder.log, self._work.metrics
        done = []
        for item in items:
            labels, record = self._work.lacking(job, item), log.records[job.key(item)]
            try:
                edit = Measured(item, pictures[item], self._work.folder.picture(record))
            except Exception as error:
                row: Mapping[str, Any] = dict.fromkeys(labels, error)
            else:
                (row,) = metrics.measure([edit], labels)
            done.append(_done(job, item, row))
        self._keep(unit, done, {item.key: unit.claim(item) for item in items}, held)

    def _keep(self, unit: Unit, done: Sequence[Done], claims: Mapping[str, str], held: Mapping[str, str]) -> None:
        """Write the results of those pictures that are still this process's."""
        own = {key for key in set(claims.values()) if self._work.folder.claims.holds(key)}
        results = [
            replace(one, record=replace(one.record, after=held[claims[one.record.item]]))
            for one in done
            if claims[one.record.item] in own
        ]
        self._report(self._work.folder.keep(results))

    def _loaded(self, unit: Unit) -> Hand:
        if unit.loading is None:
            return PictureHand()
        if unit.loading != self._loading:
            self.leave()  # before the next model is loaded, this one goes
            began, work = time.perf_counter(), self._work
            try:
                self._hand = load(unit.jobs[0].configuration, unit.jobs, work.device, work.kept, work.models)
            except Exception as error:
                raise NotLoadedError from error
            self._loaded_in, self._loading = time.perf_counter() - began, unit.loading
        return self._hand

    def leave(self) -> None:
        """Give the model back."""
        if self._loading is not None and isinstance(self._hand, ModelHand):
            self._work.models.put(self._loading, self._work.device, self._hand.model)
        self._hand, self._loading = PictureHand(), None


@final
class _Pictures:
    """Reads each picture once."""

    def __init__(self, items: Iterable[Item]):
        """Read nothing yet."""
        self._first: dict[str, Item] = {}
        for item in items:
            self._first.setdefault(item.picture_key, item)
        self.read: dict[str, Image.Image] = {}

    def __getitem__(self, item: Item) -> Image.Image:
        """Return the picture of an item."""
        if item.picture_key not in self.read:
            self.read[item.picture_key] = self._first[item.picture_key].picture().convert("RGB")
        return self.read[item.picture_key]

    def failed(self, items: Iterable[Item]) -> dict[str, Exception]:
        """Read the pictures of items; return the errors of those that cannot be read."""
        found: dict[str, Exception] = {}
        for item in items:
            try:
                self[item]
            except Exception as error:  # noqa: PERF203
                found[item.key] = error
        return found


def _done(job: Job, item: Item, row: Mapping[str, Any], made: Made | None = None) -> Done:
    """Return what is to be kept of a cell: columns by metric, or the error of a metric or of the edit."""
    one = job.configuration
    errors = {during: error for during, error in row.items() if isinstance(error, Exception)}
    record = CellRecord(
        job.key(item),
        one.name,
        backbone_of(one),
        item.picture_key,
        item.kind,
        cost=Spent() if made is None else made.cost,
        measures={metric: columns for metric, columns in row.items() if metric not in errors},
        failures={during: Failure(type(error).__name__, reason_of(error)) for during, error in errors.items()},
        diagnostics={} if made is None else made.diagnostics,
    )
    texts = {during: "".join(traceback.format_exception(error)) for during, error in errors.items()}
    maps = as_bytes(made.maps) if made is not None and made.maps else b""
    return Done(record, job.cell(item).key, None if made is None else made.image, maps, texts)
