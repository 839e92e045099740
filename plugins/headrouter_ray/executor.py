"""Run the workers of an experiment as actors of a Ray cluster, each in a process with a model of its own."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, final

from pydantic import Field

from headrouter.errors import HeadRouterError, InvalidInputError, reason_of
from headrouter.experiments.executor import Crew, Executor, Member, Report, Share, WorkerLostError
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.running.station import Joining, Station
from headrouter.experiments.running.unit import Unit
from headrouter.experiments.running.worker import Work

_ENDING = 60.0
"""Seconds that an actor has to leave the run folder tidy."""
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayExecutor(Executor):
    """Sets the actors of a Ray cluster that do the cells of an experiment.

    Attributes:
        workers: Number of actors; by default as many as the cluster has room for.
        address: Of the cluster, as `ray.init` takes it. By default the one of `RAY_ADDRESS`, else a cluster on this machine alone
            that ends with the run.
        gpus: GPUs of each actor, also a fraction of one. By default 1 if the cluster has any, else 0.
        cpus: Processors of each actor.
    """

    address: str | None = Field(default=None, min_length=1)
    gpus: float | None = Field(default=None, ge=0)
    cpus: float = Field(default=1, gt=0)

    def check(self, device: str) -> None:
        """Refuse to run without Ray, and with a device, which Ray chooses."""
        if find_spec("ray") is None:
            raise InvalidInputError(
                "`executor` 'ray' needs the package ray, which is not installed. Install it: pip install 'headrouter[ray]'."
            )
        if device != "auto":
            raise InvalidInputError(
                f"`device` is for Ray to choose, which gives each worker its GPUs (got {device!r}). Leave it out, and set "
                "`executor.gpus`, 0 for the CPU."
            )

    def count(self, device: str) -> int | None:
        """Return the number of workers, if it is given."""
        return self.workers

    @contextmanager
    def crew(
        self, joining: Joining, work: Work, units: Sequence[Unit], report: Callable[[Sequence[CellRecord]], None]
    ) -> Iterator[Crew]:
        """Connect to the cluster, start the actors, and end them."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        own = not ray.is_initialized()
        if own:
            try:
                ray.init(self.address, include_dashboard=False, log_to_driver=False, logging_level="error")
            except Exception as error:
                where = self.address or os.environ.get("RAY_ADDRESS") or "this machine"
                raise InvalidInputError(
                    f"`executor.address`: no Ray cluster at {where}: {reason_of(error)}."
                ) from error
        try:
            crew = _Actors(joining, *self.room(ray.cluster_resources()))
            try:
                yield crew
            finally:
                crew.end()
        finally:
            if own:
                ray.shutdown()

    def room(self, there: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Return the number of actors, and what each needs.

        Raises:
            InvalidInputError: the cluster has not so much.
        """
        gpus = self.gpus if self.gpus is not None else float(there.get("GPU", 0) > 0)
        asked = {"gpus": ("GPU", gpus), "cpus": ("CPU", self.cpus)}
        room = {name: int(there.get(kind, 0) / each + 1e-9) for name, (kind, each) in asked.items() if each}
        scarce = min(room, key=lambda name: room[name])
        if room[scarce] < (self.workers or 1):
            kind, each = asked[scarce]
            raise InvalidInputError(
                f"`executor.workers` must fit the cluster: {self.workers or 1} with {each:g} {kind} each "
                f"(`executor.{scarce}`) are more than its {there.get(kind, 0):g} {kind}. Ask for fewer, or for less."
            )
        return self.workers or room[scarce], {"num_gpus": gpus, "num_cpus": self.cpus}


@final
class _Actors(Crew):
    """Is the actors of a run; another takes the place of one that died."""

    def __init__(self, joining: Joining, count: int, needs: dict[str, float]) -> None:
        import ray

        self._run = ray.put(joining)
        self._host = ray.remote(_Host).options(**needs, max_concurrency=2, max_restarts=0)
        self._all: list[_Actor] = []
        self.members = [self._new(f"actor {number + 1}") for number in range(count)]

    def _new(self, name: str) -> "_Actor":
        self._all.append(_Actor(name, self._host.remote(), self._run))
        return self._all[-1]

    def replacement(self, lost: Member) -> Member:
        return self._new(lost.name)

    def end(self) -> None:
        """Let all leave the folder tidy, and end them."""
        import ray

        closing = [actor.handle.close.remote() for actor in self._all if actor.is_here]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_ENDING)
        for actor in self._all:
            ray.kill(actor.handle)


@final
class _Host:
    """Holds the station of an actor; it lives in the cluster."""

    def join(self, joining: Joining) -> str:
        self._station = Station(joining)
        return self._station.process

    def do(self, share: Share) -> Report:
        return self._station.do(share)

    def stop(self) -> None:
        self._station.stop()

    def close(self) -> None:
        self._station.close()


@final
class _Actor(Member):
    def __init__(self, name: str, handle: Any, run: Any) -> None:
        self.name, self.handle = name, handle
        self.joined = _watched(handle.join.remote(run))

    @property
    def is_here(self) -> bool:
        """Return whether it has joined the run."""
        return self.joined.done() and self.joined.exception() is None

    def start(self, share: Share) -> "Future[Report]":
        return _watched(self.handle.do.remote(share))

    def stop(self) -> None:
        if self.is_here:
            self.handle.stop.remote()


def _watched(reference: Any) -> "Future[Any]":
    """Return the future of a call of an actor: its result, its own error, or that it is lost."""
    from ray.exceptions import RayError, RayTaskError

    found: Future[Any] = Future()

    def take(done: "Future[Any]") -> None:
        error = done.exception()
        if error is None:
            found.set_result(done.result())
        elif isinstance(error, RayTaskError):
            cause = error.cause
            found.set_exception(cause if isinstance(cause, HeadRouterError) else HeadRouterError(reason_of(cause)))
        else:
            found.set_exception(WorkerLostError(reason_of(error)) if isinstance(error, RayError) else error)

    reference.future().add_done_callback(take)
    return found
