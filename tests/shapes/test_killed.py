"""A process that dies between any two file operations leaves the old or the new thing, whole, and a next run goes on."""

from pathlib import Path

import pytest
import torch
from headrouter_shapes import files
from headrouter_shapes.files import finish, load_tensors, replacing, save_tensors
from killing import deaths

from headrouter.files import UNFINISHED
from headrouter.imaging.picture import output_folder


def _write_model(content: str, folder: Path) -> None:
    with replacing(folder / "model") as place:
        (place / "part").mkdir(parents=True)
        for name in ("index", "part/weights"):
            (place / name).write_text(content)


@pytest.mark.parametrize("exchanges", [True, False], ids=["systems that exchange", "systems that do not"])
def test_a_folder_is_the_old_or_the_new_one(exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    elif not files._exchange(*_two_folders(tmp_path)):
        pytest.skip("this system does not exchange folders")

    def work(folder: Path) -> None:
        _write_model("old", folder)
        _write_model("new", folder)

    states: list[str] = []
    for folder in deaths(tmp_path, work):
        model = folder / "model"
        if exchanges and states and states[-1] != "none":
            assert model.is_dir()  # from the first time on it is never missing, before any repair
        finish(folder)
        contents = {(model / name).read_text() for name in ("index", "part/weights")} if model.exists() else {"none"}
        assert len(contents) == 1 and set(folder.iterdir()) <= {model}
        states += contents
    assert states == sorted(states, key=["none", "old", "new"].index) and set(states) == {"none", "old", "new"}


def _two_folders(root: Path) -> tuple[Path, Path]:
    first, second = root / "one", root / "two"
    first.mkdir()
    second.mkdir()
    return first, second


def test_a_checkpoint_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        for step in (1, 2):
            save_tensors({"step": step, "weights": torch.full((3,), float(step))}, folder / "run.checkpoint")

    steps = []
    for folder in deaths(tmp_path, work):
        finish(folder)
        path = folder / "run.checkpoint"
        state = load_tensors(path) if path.exists() else {"step": 0, "weights": torch.zeros(3)}
        assert torch.equal(state["weights"], torch.full((3,), float(state["step"])))
        assert set(folder.iterdir()) <= {path}
        steps.append(state["step"])
    assert steps == sorted(steps) and set(steps) == {0, 1, 2}


def test_a_run_that_dies_while_it_looks_whether_it_can_write_leaves_nothing_for_good(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        with output_folder(folder / "out"):
            pass

    left = set()
    for folder in deaths(tmp_path, work):
        if (folder / "out").exists():
            left |= {path.name.startswith(UNFINISHED) for path in (folder / "out").iterdir()}
            finish(folder / "out")
            assert not any((folder / "out").iterdir())
    assert left == {True}
