"""Run workers on this machine: threads on the CPU, a process for each of several GPUs."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, final

import torch

from headrouter.errors import InvalidInputError
from headrouter.experiments.executor import Crew, Executor, Member, Report, Share, WorkerLostError
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.running.station import Joining, Station
from headrouter.experiments.running.unit import Unit
from headrouter.experiments.running.worker import Work, Worker
from headrouter.models.threads import one_thread


class LocalExecutor(Executor):
    """Sets the number of workers on this machine.

    Attributes:
        workers: By default one for each visible GPU, and one without any. With more than one on the CPU, each computes with one
            thread.
    """

    def check(self, device: str) -> None:
        """Refuse more workers than GPUs."""
        there = len(_gpus()) if device in ("auto", "cuda") else 0
        if self.workers is not None and self.workers > there > 0:
            raise InvalidInputError(
                f"`workers` must be at most {there}, the number of GPUs that are visible (got {self.workers}). Leave it out to use "
                "all of them, or name one for several workers, `--device cuda:0`."
            )

    def count(self, device: str) -> int:
        """Return the number of workers."""
        return len(self.devices(device))

    def devices(self, device: str) -> list[str]:
        """Return the device of each worker."""
        gpus = _gpus() if device in ("auto", "cuda") else []
        return gpus[: self.workers] if len(gpus) > 1 else [device] * (self.workers or 1)

    @contextmanager
    def crew(
        self, joining: Joining, work: Work, units: Sequence[Unit], report: Callable[[Sequence[CellRecord]], None]
    ) -> Iterator[Crew]:
        """Start the workers, and end them."""
        devices = self.devices(joining.device)
        crew: _Threads | _Processes
        if len(set(devices)) == 1:
            crew = _Threads(replace(work, device=devices[0]), units, report, len(devices))
        else:
            crew = _Processes(joining, devices)
        try:
            yield crew
        finally:
            crew.end()


def executor_of(experiment: Experiment, executor: Executor | None = None, workers: int | None = None) -> Executor:
    """Return an executor: the one that is given, else that of the experiment, else this machine's; with a number of workers."""
    found = executor or experiment.executor or LocalExecutor()
    return found if workers is None else found.model_copy(update={"workers": workers})


def _gpus() -> list[str]:
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _joined(process: str = "") -> "Future[str]":
    future: Future[str] = Future()
    future.set_result(process)
    return future


@final
class _Threads(Crew):
    """Is workers in this process, on one device."""

    def __init__(
        self, work: Work, units: Sequence[Unit], report: Callable[[Sequence[CellRecord]], None], count: int
    ) -> None:
        self._threads = [_Thread(f"worker {number + 1}", work, units, report, count > 1) for number in range(count)]
        self.members = self._threads

    def end(self) -> None:
        for member in self._threads:
            member.pool.shutdown()
            member.leave()


@final
class _Thread(Member):
    def __init__(self, name: str, work: Work, units: Sequence[Unit], report: Callable[..., None], one: bool) -> None:
        self.name, self.joined, self._units, self._one = name, _joined(), units, one
        self._stop, self.pool = threading.Event(), ThreadPoolExecutor(1, name)
        self._worker = Worker(work, self._stop, report)

    def start(self, share: Share) -> "Future[Report]":
        return self.pool.submit(self._do, share)

    def stop(self) -> None:
        self._stop.set()

    def leave(self) -> None:
        self._worker.leave()

    def _do(self, share: Share) -> Report:
        with one_thread() if self._one else contextlib.nullcontext():
            return self._worker.report(self._units[share.unit], share)


@final
class _Processes(Crew):
    """Is workers in processes of their own, each on a device.

    The interpreter of one process is too slow for several GPUs.
    """

    def __init__(self, joining: Joining, devices: Sequence[str]) -> None:
        self._joining = joining
        self._all: list[_Process] = []
        self.members = [self._new(device) for device in devices]

    def _new(self, device: str) -> "_Process":
        self._all.append(_Process(replace(self._joining, device=device), device))
        return self._all[-1]

    def replacement(self, lost: Member) -> Member:
        return self._new(lost.name)

    def end(self) -> None:
        for member in self._all:
            member.end()


@final
class _Process(Member):
    """Is one process. A pipe tells it to stop; where the other end is gone, so is the run, and it ends at once."""

    def __init__(self, joining: Joining, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        there, self._pipe = context.Pipe(duplex=False)
        self.name, self._pool = name, ProcessPoolExecutor(1, context, _begin, (there,))
        self.joined = _watched(self._pool.submit(_join, joining))
        self.joined.add_done_callback(lambda _: there.close())

    def start(self, share: Share) -> "Future[Report]":
        try:
            return _watched(self._pool.submit(_do, share))
        except BrokenProcessPool as error:
            future: Future[Report] = Future()
            future.set_exception(WorkerLostError(str(error)))
            return future

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)

    def end(self) -> None:
        with contextlib.suppress(BrokenProcessPool):
            self._pool.submit(_leave)
        self._pool.shutdown()
        self._pipe.close()


def _watched(future: "Future[Any]") -> "Future[Any]":
    """Return the same result, with a lost worker under its own name."""
    found: Future[Any] = Future()

    def take(done: "Future[Any]") -> None:
        error = done.exception()
        if error is None:
            found.set_result(done.result())
        else:
            found.set_exception(WorkerLostError(str(error)) if isinstance(error, BrokenProcessPool) else error)

    future.add_done_callback(take)
    return found


_here: dict[str, Any] = {}
"""The station of a worker's process, and the pipe by which it is stopped."""


def _begin(pipe: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the first process decides
    _here["pipe"] = pipe


def _join(joining: Joining) -> str:
    station = _here["station"] = Station(joining)
    threading.Thread(target=_stop_when_asked, args=(station, _here["pipe"]), daemon=True).start()
    return station.process


def _stop_when_asked(station: Station, pipe: Any) -> None:
    try:
        pipe.recv()
    except EOFError:
        os.kill(os.getpid(), signal.SIGTERM)  # which nothing handles
    station.stop()


def _do(share: Share) -> Report:
    report: Report = _here["station"].do(share)
    return report


def _leave() -> None:
    if "station" in _here:
        _here["station"].close()
