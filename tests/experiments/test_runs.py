"""What a run makes, shares, counts, tries again and refuses, on a toy model."""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from experiments import light
from headrouter import Editor
from headrouter.editing.batch import Batch
from headrouter.errors import InvalidInputError, WeightsError
from headrouter.experiments.configuration import OtherConfiguration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Cell, Experiment
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.difference import difference
from headrouter.experiments.run_folder.folder import picture_of
from headrouter.experiments.run_folder.merging import merge
from headrouter.experiments.run_folder.reading import read_records
from headrouter.experiments.run_folder.status import status
from headrouter.experiments.running.runner import run
from headrouter.plugins import reload
from headrouter.testing.toy import ToyMMDiT, ToyParameters


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def quietly(experiment: Experiment, folder: Path, **options: Any) -> list[CellRecord]:
    return run(experiment, folder, progress=False, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "run"
    quietly(light.experiment(), folder)
    return folder


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is loaded and run from now on; of inversions each picture."""
    counts: Counter[str] = Counter()
    load, invert, edit = ToyParameters.load, Batch.invert, Batch.edit

    def loading(self: ToyParameters, *rest: Any, **others: Any) -> Any:
        counts["loaded"] += 1
        return load(self, *rest, **others)

    def inverting(self: Batch) -> Any:
        for task in self.tasks:
            counts[f"inverted {type(self.plan.inversion).__name__} {task.seeds} {task.source}"] += 1
        return invert(self)

    def editing_(self: Batch, *rest: Any, **others: Any) -> Any:
        counts["edited"] += sum(len(task.prompts) for task in self.tasks)
        return edit(self, *rest, **others)

    monkeypatch.setattr(ToyParameters, "load", loading)
    monkeypatch.setattr(Batch, "invert", inverting)
    monkeypatch.setattr(Batch, "edit", editing_)
    return counts


@pytest.mark.parametrize("inversion", ["euler", "rf", "rf-sde", "sdedit", "flowedit"])
def test_a_run_makes_what_the_editor_makes(inversion: str, tmp_path: Path) -> None:
    one = light.toy("one", inversion, "headrouter" if inversion == "rf" else None)
    experiment = light.experiment(one, seeds=(0, 3), pictures=3, edits=3, sizes=((32, 32), (48, 32)))
    records = quietly(experiment, tmp_path, batch=4)
    editor = Editor(ToyMMDiT(), inversion, one.methods or None, progress=False)
    items = {item.key: item for item in experiment.items}
    assert len(records) == 9 * len(experiment.seeds_of(one))
    for record in records:
        item = items[record.item]
        asked = {"steps": one.steps, "guidance": one.guidance, "seed": 1000 * record.seed + item.number, "maps": False}
        result = editor.edit(item.picture(), item.prompt, item.source_prompt, **asked)
        made = np.asarray(picture_of(tmp_path, record)).astype(int)
        assert np.abs(made - np.asarray(result.image)).max() <= 1
        assert result.cost.calls == record.spent["calls"] and result.cost.rows >= record.spent["rows"] > 0


def test_each_model_loads_once_and_each_picture_is_inverted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = counted(monkeypatch)
    three = [light.toy(f"rf {keep}", "rf", keep=keep) for keep in (0.2, 0.5, 0.9)]
    steered, other = light.toy("steered", "rf", "headrouter"), light.toy("euler", guidance=2.0)
    experiment = light.experiment(*three, other, steered, light.toy("again", guidance=5.0), pictures=5, edits=2)
    quietly(experiment, tmp_path)
    inverted = {name: count for name, count in counts.items() if name.startswith("inverted")}
    assert len(inverted) == 2 * 5 and set(inverted.values()) == {1}
    assert counts["loaded"] == 1 and counts["edited"] == 6 * 10
    more = light.experiment(*three, other, steered, light.toy("later", guidance=4.0), pictures=5, edits=2)
    records = quietly(more, tmp_path)  # from the disk
    assert {name: count for name, count in counts.items() if name.startswith("inverted")} == inverted
    later, before = ([one for one in records if one.configuration == name] for name in ("later", "euler"))
    assert [one.spent["calls"] for one in later] == [one.spent["calls"] for one in before]
    assert [one.spent["rows"] for one in later] == [one.spent["rows"] for one in before]


def test_kept_inversions_stay_below_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = light.experiment(light.toy("euler"), pictures=6, edits=1)
    quietly(experiment, tmp_path / "all")
    sizes = [path.stat().st_size for path in (tmp_path / "all/inversions").iterdir()]
    assert len(sizes) == 6
    for limit, most in ((5 * max(sizes) // 2, 2), (0, 0)):  # costs take a few bytes more or less
        quietly(experiment, tmp_path / str(limit), keep_inversions=limit)
        kept = tmp_path / str(limit) / "inversions"
        assert len(list(kept.iterdir()) if kept.exists() else []) == most
    for path in (tmp_path / "all/inversions").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    counts = counted(monkeypatch)
    quietly(light.experiment(light.toy("more", guidance=2.0), pictures=6, edits=1), tmp_path / "all")
    assert sum(name.startswith("inverted") for name in counts) == 6


def test_workers_have_a_model_each_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = quietly(light.experiment(seeds=(0, 1), pictures=6), tmp_path / "one")
    counts, threads = counted(monkeypatch), torch.get_num_threads()
    together = quietly(light.experiment(seeds=(0, 1), pictures=6), tmp_path / "three", workers=3)
    assert [one.saved for one in alone] == [one.saved for one in together] and 1 <= counts["loaded"] <= 3
    assert torch.get_num_threads() == threads
    told = difference(tmp_path / "one", tmp_path / "three")
    assert told.origin == [] and all(both == same > 0 for both, same in told.same.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_threads_of_the_process_is_not_touched(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch remembers for good that somebody asked for a number, and small models then keep it."""
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert quietly(light.experiment(pictures=2), tmp_path / "run", workers=workers)
    assert not asked


def test_what_is_done_is_not_done_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counted(monkeypatch)
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    records = quietly(light.experiment(), done)
    assert not counts and {path: path.read_bytes() for path in done.rglob("*") if path.is_file()} == before
    assert [(one.configuration, one.item) for one in records[:3]] == [
        ("euler", "000-0"),
        ("euler", "000-1"),
        ("euler", "001-0"),
    ]
    assert sorted(one.cell for one in read_records(done)) == sorted(one.cell for one in records)


def test_a_record_says_what_a_table_needs(done: Path) -> None:
    records = {(one.configuration, one.item): one for one in read_records(done)}
    one = records["steered", "002-1"]
    assert (one.backbone, one.picture, one.kind, one.seed) == ("runtime:toy", "p2", "green", 0)
    assert set(one.values) == {"likeness-1.psnr", "likeness-1.same", "likeness-1.kind"}
    assert one.values["likeness-1.kind"] == "green" and isinstance(one.values["likeness-1.psnr"], float)
    assert records["euler", "000-0"].values["likeness-1.psnr"] is None  # not defined
    assert one.spent["calls"] == 2 * 2 and one.spent["processor"] > 0 and one.spent["peak_memory"] > 0
    assert records["upside", "000-0"].backbone == "" and records["upside", "000-0"].spent["calls"] == 0
    assert "headrouter" in one.diagnostics or one.diagnostics == {}


def test_references_are_the_source_and_the_truth(tmp_path: Path) -> None:
    from dataclasses import replace

    plain = light.toy("plain")
    stills = [replace(plain, name=f"reference {which}", still=which) for which in ("source", "target")]
    experiment = light.experiment(*stills, pictures=2)
    for record, item in zip(quietly(experiment, tmp_path), [*experiment.items] * 2, strict=True):
        right = item.picture() if record.configuration == "reference source" else item.truth()
        assert np.array_equal(np.asarray(picture_of(tmp_path, record)), np.asarray(right))
        assert record.spent["calls"] == 0


def test_a_picture_with_more_edits_than_a_batch_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    velocity = ToyMMDiT.velocity
    monkeypatch.setattr(
        ToyMMDiT,
        "velocity",
        lambda self, latents, *rest: (rows.append(len(latents)), velocity(self, latents, *rest))[1],
    )
    experiment = light.experiment(light.toy("steered", "euler", "headrouter"), pictures=1, edits=7)
    assert len(quietly(experiment, tmp_path, batch=3)) == 7
    assert max(rows) <= 3 + 1


def test_a_cell_that_fails_is_on_record_and_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [light.toy("euler"), OtherConfiguration("upside", light.Upside(fails_on="green"))]
    experiment = light.experiment(
        *failing, pictures=3, broken=(2,), metrics={"likeness-1": light.Likeness(broken="red")}
    )
    records = quietly(experiment, tmp_path)
    edits = {(one.configuration, one.item): one.failures.get("edit") for one in records}
    assert {key for key, failure in edits.items() if failure} == {
        ("euler", "002-0"),
        ("euler", "002-1"),
        ("upside", "002-0"),
        ("upside", "002-1"),
        ("upside", "000-1"),
        ("upside", "001-1"),
    }
    failure = edits["upside", "000-1"]
    assert failure is not None and (failure.type, failure.sentence) == ("RuntimeError", "RuntimeError: no green")
    assert "in edit" in (tmp_path / failure.traceback).read_text()
    measured = next(one for one in records if (one.configuration, one.item) == ("euler", "000-0"))
    assert measured.edited and measured.failures["likeness-1"].sentence == "ValueError: cannot measure red"
    counts = counted(monkeypatch)
    assert quietly(experiment, tmp_path) == records and not counts
    said = status(tmp_path)
    assert {one.key: (one.done, one.failed, one.left) for one in said.progress} == {
        "runtime-toy/euler": (2, 4, 0),
        "editors/upside": (0, 6, 0),
    }
    assert "2 × edit: RuntimeError: no green" in said.text()
    with monkeypatch.context() as patch:
        patch.setattr(light.NoiseItem, "picture", lambda self: Image.new("RGB", self.size, "red"))
        again = quietly(experiment, tmp_path, retry_failed=True)
    assert {one.item for one in again if "edit" in one.failures} == {"000-1", "001-1", "002-1"}
    assert counts["edited"] == 2  # those that were edited are only measured again
    assert all("likeness-1" in one.failures for one in again if one.edited and one.kind == "red")


def test_one_bad_edit_of_a_batch_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = Batch.edit

    def picky(self: Batch, *rest: Any, **others: Any) -> Any:
        if any("blue" in prompt for task in self.tasks for prompt in task.prompts):
            raise torch.OutOfMemoryError("too much")
        return edit(self, *rest, **others)

    monkeypatch.setattr(Batch, "edit", picky)
    records = quietly(light.experiment(light.toy("euler"), pictures=2, edits=4), tmp_path)
    assert {one.kind: one.edited for one in records} == {"red": True, "green": True, "blue": False, "grey": True}


def test_metrics_are_added_without_editing_again(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = merge([done], tmp_path / "copy")
    counts = counted(monkeypatch)
    both = {"likeness-1": light.Likeness(), "brightness-1": light.Brightness()}
    records = quietly(light.experiment(metrics=both), folder, metrics_only=True)
    assert len(records) == 32 and not counts
    for record in records:
        assert record.values["brightness-1.mean"] == np.asarray(picture_of(folder, record)).mean()
        assert "likeness-1.psnr" in record.values
    more = quietly(light.experiment(light.toy("other", guidance=7.0), metrics=both), folder, metrics_only=True)
    assert more == []  # it makes no edits, and no promise of them
    assert not (folder / "configurations/runtime-toy/other.json").exists()


def test_a_model_that_cannot_be_loaded_stops_its_own_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise WeightsError("`model` is not here.")

    with monkeypatch.context() as patch:
        patch.setattr(ToyParameters, "load", load)
        with pytest.raises(WeightsError, match="is not here"):
            quietly(light.experiment(), tmp_path)
    assert {one.configuration for one in read_records(tmp_path)} == {"upside"}
    assert len(quietly(light.experiment(), tmp_path)) == 32


def test_shards_are_merged(tmp_path: Path, done: Path) -> None:
    experiment = light.experiment()
    folders = [tmp_path / f"shard-{index}" for index in range(2)]
    for index, folder in enumerate(folders):
        some: Sequence[Item] = [item for item in experiment.items if item.number % 2 == index]
        assert len(quietly(experiment, folder, items=some)) == 4 * len(some)
    assert {one.left for one in status(folders[0]).progress} == {4}
    whole = merge(folders, tmp_path / "whole")
    assert merge(folders, whole) == whole and status(whole).left == 0
    assert all(both == same == 8 for both, same in difference(done, whole).same.values())
    assert len(quietly(experiment, whole)) == 32
    other = tmp_path / "other"
    quietly(light.experiment(salt="other"), other)
    with pytest.raises(InvalidInputError, match=r"parts of one experiment.*other data: dataset\.salt"):
        merge([*folders, other], tmp_path / "whole")


def test_two_runs_are_compared(done: Path, tmp_path: Path) -> None:
    quietly(light.experiment(light.toy("euler", guidance=9.0), light.toy("new")), tmp_path / "run")
    told = difference(done, tmp_path / "run")
    assert any("guidance (3.0, here 9.0)" in sentence for sentence in told.origin)
    assert told.alone.keys() == {f"runtime-toy/{name}" for name in ("steered", "sdedit", "new")} | {"editors/upside"}
    assert told.same == {"runtime-toy/euler": (8, 0)}
    assert told.paired["runtime-toy/euler"].values["likeness-1.psnr"].count == 6
    assert "runtime-toy/euler: 0 of 8 pictures are the same" in told.text()


def test_two_names_of_one_configuration_share_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counted(monkeypatch)
    records = quietly(light.experiment(light.toy("one"), light.toy("two")), tmp_path)
    assert [one.configuration for one in records] == ["one"] * 8 + ["two"] * 8 and counts["edited"] == 8
    assert [one.configuration for one in read_records(tmp_path)] == ["one"] * 8 + ["two"] * 8


def test_an_interrupted_run_gives_its_claims_back_and_goes_on(tmp_path: Path) -> None:
    seen: list[CellRecord] = []

    def interrupt(record: CellRecord) -> None:
        seen.append(record)
        if len(seen) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quietly(light.experiment(), tmp_path, report=interrupt)
    for part in ("claims", "processes", "unfinished"):
        assert not list((tmp_path / part).iterdir())
    kept = read_records(tmp_path)
    assert {one.cell for one in seen} <= {one.cell for one in kept} and len(kept) < 32
    again: list[CellRecord] = []
    assert len(quietly(light.experiment(), tmp_path, report=again.append)) == 32 == len(again) + len(kept)


def test_the_status_of_a_run_at_work(tmp_path: Path) -> None:
    states = []
    quietly(light.experiment(), tmp_path, report=lambda _: states.append(status(tmp_path)))
    first, last = states[0], states[-1]
    assert [(one.number, one.alive) for one in first.processes] == [(os.getpid(), True)]
    assert first.left > 0 and first.seconds_left is not None and last.left == 0
    assert "at work, last sign of life" in first.text() and " left" in first.text().splitlines()[-1]
    assert status(tmp_path).processes == [] and "no process is at work here" in status(tmp_path).text()


def test_noise_differs_for_every_picture_and_seed() -> None:
    def noise(number: int, seed: int) -> int:
        item = light.NoiseItem("key", "picture", number, "kind", "", "")
        return Cell(light.toy("one"), item, seed).noise_seed

    assert noise(7, 3) == 3007
    pairs = [(number, seed) for number in (0, 1, 999, 1000, 1001, 2000, 10**6) for seed in (0, 1, 2, 1000, 2**31 - 1)]
    assert len({noise(*pair) for pair in pairs}) == len(pairs) and max(noise(*pair) for pair in pairs) < 2**63


@pytest.mark.parametrize(("option", "value"), [("workers", 0), ("batch", 0), ("keep_inversions", -1)])
def test_numbers_out_of_range_are_refused(option: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"`{option}` must be"):
        quietly(light.experiment(), tmp_path / "run", **{option: value})
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_bar_waits_for_no_lock_that_forked_processes_share(tmp_path: Path) -> None:
    """One that is killed while it holds that of tqdm would stop all others for good."""
    made = list[CellRecord]()
    runs = threading.Thread(
        target=lambda: made.extend(run(light.experiment(pictures=1), tmp_path / "run", progress=False)), daemon=True
    )
    with tqdm.get_lock():
        runs.start()
        runs.join(60)
    assert made and not runs.is_alive()
