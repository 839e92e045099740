"""What a run folder holds, tolerates and refuses: damage, other experiments, other code, full disks."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import deaths

from experiments import light
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import OtherConfiguration
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder import claims, lock, process
from headrouter.experiments.run_folder import folder as folders
from headrouter.experiments.run_folder.cell import CellKey, CellRecord, Failure, Saved
from headrouter.experiments.run_folder.lock import read_all
from headrouter.experiments.run_folder.merging import merge
from headrouter.experiments.run_folder.process import new_name
from headrouter.experiments.run_folder.reading import read_records
from headrouter.experiments.run_folder.record_log import RecordLog
from headrouter.experiments.run_folder.status import status
from headrouter.experiments.running.runner import run
from headrouter.plugins import reload
from headrouter.plugins.code import Code


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def small(**values: Any) -> Experiment:
    return light.experiment(light.toy("euler"), OtherConfiguration("upside", light.Upside()), pictures=2, **values)


def quietly(experiment: Experiment, folder: Path, **options: Any) -> list[CellRecord]:
    return run(experiment, folder, progress=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    quietly(small(), folder)
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    return merge([finished], tmp_path / "run")


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def log_of(folder: Path) -> Path:
    (path,) = (folder / "records").iterdir()
    return path


CELL = CellKey("0123", "one", 0)
PICTURE = Saved("pictures/one.png", "ab")


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    record = CellRecord(
        CELL, "é", "toy", "p", "kind", PICTURE, measures={"m": {"a": 1.5, "b": True, "c": None}}, at=3.0, process="x"
    )
    RecordLog(tmp_path, "x").append([record])
    assert RecordLog(tmp_path).records == {CELL: record}
    failed = CellRecord(CELL, failures={"edit": Failure("E", "s")}, at=2.0)
    assert CellRecord.read(failed.line()) == failed


def test_parts_of_a_record_are_joined_in_any_order() -> None:
    edited = CellRecord(
        CELL, saved=PICTURE, measures={"a": {"x": 1}}, failures={"b": Failure("E", "b")}, at=2, process="one"
    )
    failed = CellRecord(CELL, failures={"edit": Failure("E", "e")}, at=1)
    measured = CellRecord(CELL, measures={"b": {"y": 2}}, at=3)
    worse = CellRecord(CELL, failures={"b": Failure("E", "later")}, at=4)
    for first, second in ((edited, failed), (failed, edited)):
        joined = first.joined(second)
        assert joined.saved == PICTURE and set(joined.failures) == {"b"} and joined.at == 2
    for first, second in ((edited, measured), (measured, edited)):
        assert first.joined(second).failures == {} and set(first.joined(second).measures) == {"a", "b"}
    for first, second in ((edited, worse), (worse, edited)):
        assert first.joined(second).failures["b"].sentence == "later"
    other = CellRecord(CELL, saved=Saved("pictures/one.png", "cd"), process="late")
    with pytest.raises(ValueError, match="another result"):
        edited.joined(other)
    taker = CellRecord(CELL, saved=PICTURE, process="taker", after="late")  # it took the paused one's place
    assert taker.joined(other) == other.joined(taker) == taker
    with pytest.raises(ValueError, match="other measures by b"):
        measured.joined(CellRecord(CELL, measures={"b": {"y": 3}}))


def test_a_cut_last_line_is_done_again(done: Path) -> None:
    path = log_of(done)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-30])
    records = quietly(small(), done)
    assert len(records) == 8 and path.read_bytes() == b"".join(lines[:-1]) + lines[-1][:-30]  # it is another's file
    assert len(list((done / "records").iterdir())) == 2


def test_identical_lines_are_one(done: Path) -> None:
    path = log_of(done)
    path.with_name("copy.jsonl").write_bytes(path.read_bytes())
    assert len(read_records(done)) == 8 and status(done).left == 0


@pytest.mark.parametrize("harm", ["nonsense", "[1, 2]", '{"cell": {}}', "contradiction"])
def test_a_damaged_line_is_named_and_left_alone(harm: str, done: Path) -> None:
    path = log_of(done)
    lines = path.read_text().splitlines(keepends=True)
    if harm == "contradiction":
        plain = json.loads(lines[2])
        harm = json.dumps({**plain, "saved": {**plain["saved"], "sha256": "0"}})
    path.write_text("".join([*lines[:4], f"{harm}\n", *lines[4:]]))
    before = content(done)
    for work in (lambda: quietly(small(), done), lambda: read_records(done), lambda: status(done)):
        with pytest.raises(
            InvalidInputError, match=rf"{path.name.replace('+', '.')}:5: damaged line: .*delete the line"
        ):
            work()
    assert content(done) == before


OTHERS: dict[str, Any] = {
    r"holds the experiment 'light', not 'other'": {"name": "other"},
    r"other data: dataset\.salt \('', here 'new'\)": {"salt": "new"},
    r"of another metric labelled 'likeness-1': broken": {"metrics": {"likeness-1": light.Likeness(broken="x")}},
}


@pytest.mark.parametrize("said", OTHERS)
def test_the_folder_of_another_experiment_is_refused(said: str, done: Path) -> None:
    before = content(done)
    with pytest.raises(InvalidInputError, match=said + r"(?s:.*)Choose another folder"):
        quietly(small(**OTHERS[said]), done)
    assert content(done) == before


def test_another_configuration_of_the_same_name_is_refused(done: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"another configuration named 'euler': guidance \(3\.0, here 4\.0\)"):
        quietly(light.experiment(light.toy("euler", guidance=4.0), pictures=2), done)
    more = light.experiment(light.toy("euler"), light.toy("new", guidance=4.0), pictures=2, seeds=(0, 1))
    assert len(quietly(more, done)) == 8  # another one is welcome
    assert set(read_all(done).configurations) == {"runtime-toy/euler", "runtime-toy/new", "editors/upside"}


def test_results_of_other_code_are_refused_but_may_be_measured(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrouter.experiments import configuration, experiment

    def other(parts: Any) -> dict[str, Code]:
        return {"headrouter": Code(version="9.9", source="0123"), "torch": Code(version="1")}

    for module in (configuration, experiment):
        monkeypatch.setattr(module, "code_of", other)
    monkeypatch.setattr("headrouter.editing.record.code_of", other)
    before = content(done)
    with pytest.raises(InvalidInputError, match=r"other code: .*'9\.9'(?s:.*)It was begun at commit .*continue with"):
        quietly(small(), done)
    assert content(done) == before
    both = {"likeness-1": light.Likeness(), "brightness-1": light.Brightness()}
    records = quietly(small(metrics=both), done, metrics_only=True)
    assert len(records) == 8 and all("brightness-1.mean" in one.values for one in records)
    assert read_all(done).metrics["brightness-1"]["code"]["headrouter"]["version"] == "9.9"


def test_the_lock_says_what_made_the_results(done: Path) -> None:
    origin = read_all(done)
    environment = origin.top["environment"]
    assert environment["packages"]["torch"] and environment["plugins"] and "commit" in environment
    assert origin.top["dataset"]["revision"] and origin.top["items"] == 4
    described = origin.configurations["runtime-toy/euler"]["describes"]
    assert described["weights"] and described["code"]["headrouter"]["source"]
    assert origin.metrics["likeness-1"]["columns"]["psnr"]["unit"] == "dB"


@pytest.mark.parametrize("file", ["lock.json", "configurations/runtime-toy/euler.json", "metrics/likeness-1.json"])
def test_a_damaged_lock_is_named(file: str, done: Path) -> None:
    (done / file).write_text("{")
    before = content(done)
    with pytest.raises(InvalidInputError, match=f"{file}' is damaged"):
        quietly(small(), done)
    assert content(done) == before


def test_a_folder_without_a_lock_is_refused(done: Path, tmp_path: Path) -> None:
    (done / "lock.json").unlink()
    before = content(done)
    with pytest.raises(InvalidInputError, match=r"has no lock\.json beside it"):
        quietly(small(), done)
    with pytest.raises(InvalidInputError, match="is no run folder"):
        status(done)
    assert content(done) == before
    (tmp_path / "new").mkdir()
    (tmp_path / "new/records").write_text("mine")
    with pytest.raises(InvalidInputError, match="must be a folder, or not be there yet"):
        quietly(small(), tmp_path / "new")


def test_two_processes_may_begin_a_folder_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other begins it after this one saw no lock file, and before it looks for what else is there."""
    names = lock._REMAINS

    class Meanwhile:
        def __iter__(self) -> Iterator[str]:
            monkeypatch.setattr(lock, "_REMAINS", names)
            quietly(small(), tmp_path / "run")
            return iter(names)

    monkeypatch.setattr(lock, "_REMAINS", Meanwhile())
    assert len(quietly(small(), tmp_path / "run")) == len(list(small().cells()))


def test_a_picture_that_was_exchanged_is_not_measured(done: Path) -> None:
    pictures = sorted((done / "pictures/runtime-toy/euler/0").iterdir())
    pictures[0].write_bytes(pictures[2].read_bytes())
    both = {"likeness-1": light.Likeness(), "brightness-1": light.Brightness()}
    records = {one.item: one for one in quietly(small(metrics=both), done) if one.configuration == "euler"}
    assert "is not the picture that was written" in records["000-0"].failures["brightness-1"].sentence
    assert "brightness-1.mean" in records["001-0"].values


@pytest.mark.parametrize("room", range(0, 18, 2))
def test_a_full_disk_stops_with_an_error_and_the_folder_goes_on(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after so many files, half of the next one being written."""
    left, opened = [room], Path.open

    class Full:
        def __init__(self, file: Any):
            self.file = file

        def write(self, content: Any) -> int:
            left[0] -= 1
            if left[0] >= 0:
                return int(self.file.write(content))
            self.file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    def open_(self: Path, mode: str = "r", *rest: Any, **others: Any) -> Any:
        file = opened(self, mode, *rest, **others)
        return Full(file) if str(self).startswith(str(tmp_path)) and mode[0] in "wa" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        with pytest.raises(InvalidInputError, match=r"cannot write .*No space left on device\. Make room"):
            quietly(small(), tmp_path / "run")
    known = read_records(tmp_path / "run") if (tmp_path / "run/lock.json").exists() else []
    assert len(quietly(small(), tmp_path / "run")) == 8
    again = {one.cell: one for one in read_records(tmp_path / "run")}
    assert (
        len(again) == 8
        and all(again[one.cell] == one for one in known)
        and not any(one.failures for one in again.values())
    )
    assert not [*(tmp_path / "run/unfinished").iterdir(), *(tmp_path / "run/claims").iterdir()]


def test_a_process_that_was_taken_for_dead_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine takes its claims while it is paused, in the middle of an edit."""
    edit = light.Upside.load

    def load(self: light.Upside, device: Any) -> Any:
        plain = edit(self, device)

        def paused(request: Any) -> Any:
            for place in (tmp_path / "claims").iterdir():
                (owner,) = place.iterdir()
                owner.rename(place / "other+1+2+3+x")
            return plain(request)

        return paused

    monkeypatch.setattr(light.Upside, "load", load)
    experiment = light.experiment(OtherConfiguration("upside", light.Upside()), pictures=1, edits=1)
    monkeypatch.setattr("headrouter.experiments.running.runner.time.sleep", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        quietly(experiment, tmp_path)
    assert read_records(tmp_path) == [] and not list((tmp_path / "pictures").rglob("*.png"))


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_a_process_that_dies_at_any_file_operation_leaves_a_folder_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = light.experiment(OtherConfiguration("upside", light.Upside()), pictures=1, edits=1)
    names = [""]  # all of this process, of which the last is alive
    monkeypatch.setattr(folders, "new_name", lambda: names.append(new_name()) or names[-1])
    for module in (folders, claims, process):
        monkeypatch.setattr(module, "died_here", lambda name: name != names[-1])
    states = []
    for folder in deaths(tmp_path, lambda folder: quietly(experiment, folder / "run")):
        there = (folder / "run/lock.json").exists()
        before = read_records(folder / "run") if there else []
        (record,) = quietly(experiment, folder / "run")
        assert record.edited and all(one == record for one in before)
        states.append(len(before))
    assert states == sorted(states) and set(states) == {0, 1} and len(states) > 30
