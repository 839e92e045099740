"""An earlier state is taken from git, and each state runs its own code; no figure's size is asserted."""

from pathlib import Path

import pytest

from benchmarks import since
from benchmarks.__main__ import main
from benchmarks.timing import Spell


def test_this_state_is_compared_with_an_earlier_one(monkeypatch):
    """Start-up by work, edits on the clock; both states edit by the weights of the earlier one."""
    weights = []

    def spell(state, *given):
        weights.extend(each for each in given if "weights" in each)
        return Spell(6.0, 1.0) if state.folder.name == "now" else Spell(3.0, 2.0)

    monkeypatch.setattr(since, "copy_of", lambda revision, folder: folder.mkdir() or folder)
    monkeypatch.setattr(since, "copy_of_now", lambda folder: folder.mkdir() or folder)
    monkeypatch.setattr(since.State, "of", lambda folder: since.State(folder, {}))
    monkeypatch.setattr(since.State, "start", spell)
    monkeypatch.setattr(since.State, "edit", spell)
    figures = list(since.measure(print, rounds=1, revision="some"))
    assert [figure.value for figure in figures] == [0.5, 0.5, 2.0, 2.0]
    assert all(figure.goal == ("≤", 1) and figure.what.endswith("over some") for figure in figures)
    assert len(weights) == 4 and all(Path(each).parts[-5] == "before" for each in weights)
    compile(since.EDIT, "edit", "exec")


def test_an_earlier_state_that_git_does_not_have_is_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="needs a clone that has revision 'no-such'; git says 'fatal: "):
        since.copy_of("no-such", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="needs git"):
        since.copy_of(since.REVISION, tmp_path)


def test_a_state_runs_its_own_code_alone(tmp_path):
    own = since.State.of(since.copy_of_now(tmp_path / "now"))
    assert own.start("import headrouter").work > 0
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RuntimeError, match=r"the state 'other' failed: AssertionError: not of this state: .*now"):
        since.State(other, own.environment).output(since.PARTS)


def test_a_revision_for_other_benchmarks_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["startup", "--revision", "some"])
    assert "--revision would have no effect without the benchmark since" in capsys.readouterr().err
