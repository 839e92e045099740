"""Runs configurations on the cases of a set: many edits in a batch, a batch per worker."""

import contextlib
import itertools
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from headrouter_inversions.euler import Euler
from tqdm import tqdm

from headrouter.editing.assembly import backbone_of
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.file.listed import refuse_doubles
from headrouter.imaging.picture import writable_folder
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.sampling.inversion import Inversion
from headrouter_shapes.bench.batch import Kept, Spent, edit_batch
from headrouter_shapes.bench.measures import Measures, Pictures, measure
from headrouter_shapes.bench.records import Records, Row
from headrouter_shapes.bench.sets import EDITS_PER_SOURCE, SIZES, Case, chosen_cases
from headrouter_shapes.claim import claimed

BATCH: Final = 8
"""Edits in a batch: large enough to use a core, small enough to share out."""
_Done = tuple[Records, Sequence[Case], Pictures, list[Measures], Spent]


def references(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Return the bounds of the results of each backbone, from the lowest to the highest.

    ``source``: the picture unedited. ``generation``: the target caption, sampled without steering from the noise that
    Euler's inversion finds with the source's caption, at each guidance and number of steps that a configuration has;
    left out where one of the configurations is just that.
    ``target``: the true target through the autoencoder, which no edit can surpass by much.
    """
    found: list[Configuration] = []
    for _, group in itertools.groupby(configurations, key=lambda one: one.loading):
        members = list(group)
        first = replace(members[0], methods=(), seed=0)
        found.append(replace(first, name="reference source", still="source"))
        for steps, guidance in sorted({(one.steps, one.guidance) for one in members}):
            name = f"reference generation guidance={guidance:g} steps={steps}"
            plain = replace(first, name=name, inversion=Euler(steps=steps), steps=steps, guidance=guidance)
            if plain.hash not in {one.hash for one in members}:
                found.append(plain)
        found.append(replace(first, name="reference target", still="target"))
    return found


def run(
    configurations: Sequence[Configuration],
    out: str | Path,
    *,
    set: str = "tune",  # noqa: A002
    count: int = SIZES["quick"],
    workers: int = 1,
    batch: int = BATCH,
    kinds: Sequence[str] = (),
    with_references: bool = True,
    device: str = "auto",
    progress: bool = True,
) -> list[Row]:
    """Measure configurations; what ``out`` holds already is not done again.

    Args:
        configurations: From :func:`~headrouter_shapes.bench.configure` or :func:`~headrouter_shapes.bench.read_study`.
        out: Folder of the results, see :mod:`headrouter_shapes.bench.records`.
        set: ``"tune"`` or ``"test"``.
        count: Edits: 80 is the quick size, 400 the full one.
        workers: Threads, each with a model of its own and one thread per operation.
        batch: Edits in one model call.
        kinds: Only edits of these kinds, of those ``count``; all if empty.
        with_references: Also measure :func:`references`.
        device: Device of the models.
        progress: Show a bar.

    Returns:
        A row for each configuration, references first, and each case, in order.

    Raises:
        HeadRouterError: before a model is loaded, where possible. Another run in ``out`` is refused at once.
    """
    for name, value in (("workers", workers), ("batch", batch)):
        if value < 1:
            raise InvalidInputError(f"`{name}` must be at least 1 (got {value}).")
    cases = chosen_cases(set, count, kinds)
    chosen = [*(references(configurations) if with_references else ()), *configurations]
    refuse_doubles(chosen)
    folder = writable_folder(out)
    with claimed(folder):
        records = [Records(folder, set, one) for one in chosen]
        for one in records:
            one.remove_unfinished()
        _complete(records, cases, workers, batch, device, progress)
    return [record.rows[case.number] for record in records for case in cases]


def _complete(
    records: Sequence[Records], cases: Sequence[Case], workers: int, batch: int, device: str, progress: bool
) -> None:
    """Run and write all that is missing."""
    missing = sum(case.number not in one.rows for one in records for case in cases)
    with _threads(workers), tqdm(total=missing, unit="edit", disable=None if progress else True) as bar:
        for _, group in itertools.groupby(records, key=lambda one: one.configuration.loading):
            for record, some, pictures, measures, spent in _run(list(group), cases, workers, batch, device):
                bar.set_description(f"{record.configuration.backbone_name} {record.configuration.name}"[:40], False)
                for case, picture, measured in zip(some, pictures, measures, strict=True):
                    record.add(case, picture, measured, spent)
                    bar.update()


def _run(records: Sequence[Records], cases: Sequence[Case], workers: int, batch: int, device: str) -> Iterator[_Done]:
    """Run the missing edits of one backbone's configurations, and yield each as it is done."""
    chunks = list(_chunks(cases, batch))
    work = [
        (record, left)
        for record in records
        for chunk in chunks
        if (left := [case for case in chunk if case.number not in record.rows])
    ]
    if not work:
        return
    first = records[0].configuration
    values = {"device": device}
    free: queue.SimpleQueue[Backbone] = queue.SimpleQueue()
    parts: list[Inversion | Method] = []
    for record in records:
        parts += [record.configuration.inversion, *record.configuration.methods]
    for _ in range(min(workers, len(work))):
        free.put(backbone_of(first.backbone, parts, model=first.model, pipeline=None, values=values)[0])
    kept: Kept = {}

    def task(record: Records, some: Sequence[Case]) -> _Done:
        backbone = free.get()
        try:
            pictures, spent = edit_batch(backbone, record.configuration, some, kept)
        finally:
            free.put(backbone)
        return record, some, pictures, measure(pictures, some), spent

    with _pool(workers) as submit:
        yield from (future.result() for future in as_completed([submit(task, *one) for one in work]))


def _chunks(cases: Sequence[Case], batch: int) -> Iterator[list[Case]]:
    """Yield cases in groups of about ``batch``, those of one source together."""
    sources = max(1, batch // EDITS_PER_SOURCE)
    for _, group in itertools.groupby(cases, key=lambda case: case.source_number // sources):
        yield list(group)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Callable[..., "Future[Any]"]]:
    """Yield a pool of threads that starts nothing more once its user leaves."""
    executor = ThreadPoolExecutor(workers)
    try:
        yield executor.submit
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[None]:
    """Use one thread in each operation where there are several workers."""
    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
