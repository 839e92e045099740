"""The schedule of units: who does which pictures, and that it is what workers of this machine do."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from experiments import light
from headrouter.config.configuration import validate
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments import plan
from headrouter.experiments.configuration import OtherConfiguration
from headrouter.experiments.executor import Crew, Member, Report, Share, WorkerLostError
from headrouter.experiments.planning.simulation import Constants, read_constants, simulate, spent
from headrouter.experiments.running import runner
from headrouter.experiments.running.local import LocalExecutor
from headrouter.experiments.running.schedule import Schedule
from headrouter.experiments.running.unit import Unit
from headrouter.experiments.running.worker import Worker
from headrouter.plugins import reload

TOY = "runtime:toy"  # registered while the tests run


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def unit(model: str | None, *, jobs: int = 1) -> Unit:
    return Unit("sharing", None if model is None else (model,), (), (), 8)


def schedule(workers: int, **costs: Sequence[Mapping[str, float]]) -> Schedule:
    units = [(unit(model), cost) for model, some in costs.items() for cost in some]
    by_unit = {id(one): cost for one, cost in units}
    return Schedule({number: one for number, (one, _) in enumerate(units)}, lambda one: by_unit[id(one)], workers)


def pictures(count: int, cost: float = 1.0, first: int = 0) -> dict[str, float]:
    return {f"p{first + number}": cost for number in range(count)}


def test_one_worker_takes_units_in_their_order() -> None:
    one = schedule(1, a=[pictures(8), pictures(3, first=8)], b=[pictures(8)])
    taken = [one.take(0), one.take(0), one.take(0), one.take(0)]
    assert [share and (share.unit, len(share.pictures)) for share in taken] == [(0, 8), (1, 3), (2, 8), None]
    assert one.empty


def test_workers_are_spread_over_models_by_cost_and_stay_there() -> None:
    one = schedule(4, a=[pictures(4, 3.0)] * 8, b=[pictures(4, 1.0)] * 8)
    first = [one.take(worker) for worker in range(4)]
    assert sorted(share.unit // 8 for share in first if share) == [0, 0, 0, 1]
    for worker in range(4):
        share = first[worker]
        assert share is not None
        one.finished(share, 40.0, 30.0)
        again = one.take(worker)
        assert again is not None and again.unit // 8 == share.unit // 8


def test_the_last_shares_are_small() -> None:
    one, sizes = schedule(2, a=[pictures(8)] * 3), []
    while (share := one.take(len(sizes) % 2)) is not None:
        sizes.append(len(share.pictures))
    assert sum(sizes) == 24 and sizes[0] == 8 and sizes[-3:] == [1, 1, 1]


def test_nobody_loads_a_model_for_work_that_will_be_done_before() -> None:
    for loading, goes in ((1.0, True), (100.0, False)):
        one = schedule(2, a=[pictures(1, 50.0)], b=[pictures(4, 10.0)] * 2)
        b, a = one.take(0), one.take(1)
        assert a is not None and b is not None and (a.unit, b.unit) == (0, 1)
        assert one.take(0) is not None
        one.finished(b, 10.0 * len(b.pictures) + loading, loading)
        one.finished(a, 50.0 + loading, loading)
        assert (one.take(1) is not None) is goes


def test_what_needs_no_model_is_done_by_whoever_comes() -> None:
    one = Schedule({0: unit("a"), 1: unit(None), 2: unit("a")}, lambda _: pictures(1), 1)
    assert [share.unit for share in (one.take(0), one.take(0), one.take(0)) if share] == [1, 0, 2]


def test_the_share_of_a_lost_worker_is_done_first() -> None:
    one = schedule(2, a=[pictures(2), pictures(2, first=2)])
    share = one.take(0)
    assert share is not None
    one.lost(0, share)
    again = one.take(1)
    assert again is not None and again.unit == 0 and again.pictures[0] == share.pictures[0]


@pytest.mark.parametrize(("workers", "device"), [(3, "auto"), (9, "cuda")])
def test_more_workers_than_gpus_are_refused(workers: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InvalidInputError, match=rf"`workers` must be at most 2, .*got {workers}"):
        LocalExecutor(workers=workers).check(device)
    LocalExecutor(workers=workers).check("cpu")
    assert LocalExecutor().devices(device) == ["cuda:0", "cuda:1"] and LocalExecutor(workers=1).devices(device) == [
        "cuda:0"
    ]
    assert LocalExecutor(workers=workers).devices("cuda:1") == ["cuda:1"] * workers


def test_options_of_another_executor_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="`gpus`: unknown name"):
        validate(LocalExecutor, {"gpus": 1})


class _Shaky(LocalExecutor):
    """One worker after the other dies of its share."""

    @contextmanager
    def crew(self, *given: Any) -> Any:
        with super().crew(*given) as crew:
            for member in crew.members:
                member.start = _die  # type: ignore[method-assign]
            crew.replacement = lambda lost: lost  # type: ignore[method-assign]
            yield crew


def _die(share: Share) -> "Future[Report]":
    future: Future[Report] = Future()
    future.set_exception(WorkerLostError("signal 9"))
    return future


def test_edits_that_kill_every_worker_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(HeadRouterError, match=r"3 workers, the last worker 1, died of the same edits, .*`--batch`"):
        runner.run(light.experiment(), tmp_path / "run", executor=_Shaky(), progress=False)
    for part in ("claims", "processes", "unfinished"):
        assert not list((tmp_path / "run" / part).iterdir())


class _Timed(LocalExecutor):
    """Workers that do the real work, and take simulated time for it."""

    spend: Callable[[Unit, bool], Mapping[str, float]]

    @contextmanager
    def crew(self, joining: Any, work: Any, units: Any, report: Any) -> Any:
        crew = _TimedCrew()
        crew.members = [
            _TimedMember(crew, number, Worker(work, threading.Event(), report), units, self.spend)
            for number in range(self.workers or 1)
        ]
        _TimedCrew.last = crew
        yield crew


class _TimedCrew(Crew):
    last: ClassVar["_TimedCrew"]

    def __init__(self) -> None:
        self.now, self.busy, self.slots = 0.0, list[tuple[float, Any, Any]](), list[tuple[int, float, Share]]()

    @classmethod
    def wait_for_last(cls, *given: Any) -> Any:
        return cls.last.wait(*given)

    def wait(self, futures: Sequence[Any], *_: Any) -> tuple[set[Any], set[Any]]:
        """Go on to the moment when the next worker has finished, as :func:`concurrent.futures.wait` does."""
        if not any(future.done() for future in futures):
            self.now = min(end for end, *_ in self.busy)
            for end, future, do in list(self.busy):
                if end == self.now:
                    self.busy.remove((end, future, do))
                    future.set_result(do())
        return {future for future in futures if future.done()}, set()


class _TimedMember(Member):
    def __init__(self, crew: _TimedCrew, number: int, worker: Worker, units: Sequence[Unit], spend: Any) -> None:
        self.name, self.number, self.crew = str(number), number, crew
        self.joined = Future()
        self.joined.set_result("")
        self.worker, self.units, self.spend, self.model = worker, units, spend, None

    def start(self, share: Share) -> "Future[Report]":
        part, future = self.units[share.unit].part(share.pictures), Future[Report]()
        taken = self.spend(part, part.loading != self.model)
        self.model = part.loading
        seconds = sum(taken.values())

        def do() -> Report:
            assert self.worker.report(self.units[share.unit], share).error is None
            return Report(seconds, taken["loading"])

        self.crew.slots.append((self.number, self.crew.now, share))
        self.crew.busy.append((self.crew.now + seconds, future, do))
        return future

    def stop(self) -> None:
        """End."""


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_simulated_schedule_is_that_of_a_run(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that take simulated time are given the shares of the simulation, at the same moments."""
    experiment = light.experiment(
        light.toy("euler"),
        light.toy("steered", "euler", "headrouter"),
        light.toy("rf", "rf"),
        OtherConfiguration("upside", light.Upside()),
        OtherConfiguration("slow", light.Upside(fails_on="x")),
        pictures=7,
    )
    constants = Constants(
        row={TOY: 0.37},
        edit={"upside": 1.03, "slow": 5.17},
        load={TOY: 11.3, "upside": 2.9, "slow": 3.1},
        cell=0.011,
    )
    weights = runner.weights_of(experiment, [])
    expected = simulate(experiment, experiment.items, workers, constants, weights=weights, batch=4)
    monkeypatch.setattr(runner, "wait", _TimedCrew.wait_for_last)
    timed = _Timed(workers=workers, spend=lambda unit, loads: spent(unit, loads, constants))
    assert len(runner.run(experiment, tmp_path / "run", executor=timed, batch=4, progress=False)) == 7 * 2 * 5
    assert _TimedCrew.last.slots == [(slot.worker, slot.begin, slot.share) for slot in expected.slots]
    assert _TimedCrew.last.now == pytest.approx(expected.seconds)
    assert sum(expected.shares.values()) == pytest.approx(workers * expected.seconds)


def test_a_simulation_counts_what_a_plan_counts() -> None:
    """An inversion once for the configurations that share it, so that a row costs as much as in a plan."""
    many = [light.toy("euler"), light.toy("steered", "euler", "headrouter"), light.toy("rf", "rf")]
    experiment = light.experiment(*many, pictures=30, edits=1)
    constants = Constants(row={TOY: 0.5}, load={TOY: 20.0})
    weights = runner.weights_of(experiment, [])
    one, four = (
        simulate(experiment, experiment.items, workers, constants, weights=weights, batch=8) for workers in (1, 4)
    )
    rows = plan(experiment).rows
    assert one.shares["model calls"] == four.shares["model calls"] == pytest.approx(0.5 * rows)
    assert one.seconds == pytest.approx(0.5 * rows + 20) and one.bottleneck == "loading"
    assert (
        four.shares["loading"] == 4 * 20
        and four.seconds < one.seconds / 2
        and four.shares["waiting"] < 0.02 * 4 * four.seconds
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"row: {{'{TOY}': 1}}", rf"`load` has no '{TOY}', which the experiment edits with"),
        (f"row: {{toi: 1}}\nload: {{'{TOY}': 1}}", rf"`row` has no '{TOY}'"),
        ("row: {toy: 1}\nload: {toy: 1}\ncells: 1", r"`cells`: unknown name"),
    ],
)
def test_constants_that_are_missing_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_constants(tmp_path / "x.yaml", light.experiment(light.toy("euler")))
