"""What a benchmark wrote is whole and there once, however the process before it ended."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from headrouter_inversions.euler import Euler
from headrouter_shapes.bench import cases, configure
from headrouter_shapes.bench.batch import Spent
from headrouter_shapes.bench.measures import Measures
from headrouter_shapes.bench.records import Records
from killing import deaths

import headrouter
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import weights_of
from headrouter.imaging.picture import load_picture
from headrouter.methods.head_router.method import NoMethod
from headrouter.plugins import code

PLAIN = configure("plain", "sd3.5", "euler", None)
CASES = cases("tune", 3)
MEASURES = Measures(True, True, True, False, 30.5, math.nan, {"shape": "star"}, 4.0)


def complete(out: Path, spent: float = 1.0) -> Records:
    """Add what is missing of three edits, as a run does."""
    records = Records(out, "tune", PLAIN)
    records.remove_unfinished()
    for case in CASES:
        if case.number not in records.rows:
            picture = np.full((64, 64, 3), 40 * case.number, dtype=np.uint8)
            records.add(case, picture, MEASURES, Spent(seconds=spent))
    return records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of three results."""
    return complete(tmp_path).folder / "results.jsonl"


def test_a_run_that_was_killed_anywhere_goes_on(tmp_path: Path) -> None:
    whole = None
    for out in [*deaths(tmp_path, complete)][::-1]:  # the last one was not killed
        folder = complete(out).folder
        content = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        whole = content if whole is None else whole
        assert content == whole and len(content) == 5  # nothing lost, doubled, half-written or left over
        for case in CASES:
            assert load_picture(folder / f"pictures/{case.number:03d}.png").getpixel((5, 5)) == (40 * case.number,) * 3


def test_a_last_line_that_was_cut_off_is_written_again(path: Path) -> None:
    whole, out = path.read_bytes(), path.parents[3]
    last = whole[:-1].rfind(b"\n") + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert set(Records(out, "tune", PLAIN).rows) == {0, 1} and path.read_bytes() == whole[:end]
        complete(out)
        assert path.read_bytes() == whole


def test_an_edit_that_is_there_twice_counts_once(path: Path, tmp_path: Path) -> None:
    """As two processes wrote that ran at once: equal but for the time that they took."""
    twin = complete(tmp_path / "twin", spent=2.0).folder / "results.jsonl"
    path.write_bytes(path.read_bytes() + twin.read_bytes())
    rows = Records(path.parents[3], "tune", PLAIN).rows
    assert sorted(rows) == [0, 1, 2] and {row.spent.seconds for row in rows.values()} == {1.0}
    path.write_bytes(path.read_bytes().replace(b"30.5", b"31.5", 1))
    with pytest.raises(InvalidInputError, match=r"results.jsonl:4: damaged line: another result of an edit"):
        Records(path.parents[3], "tune", PLAIN)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
def test_a_full_disk_leaves_whole_lines(path: Path) -> None:
    import resource

    whole = path.read_bytes()
    records = Records(path.parents[3], "tune", PLAIN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, limits[1]))
    try:
        with pytest.raises(InvalidInputError, match=r"cannot write '.*results.jsonl'.*start again to continue"):
            records.add(cases("tune", 4)[3], np.zeros((64, 64, 3), dtype=np.uint8), MEASURES, Spent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == whole and sorted(records.rows) == [0, 1, 2]
    records.add(cases("tune", 4)[3], np.zeros((64, 64, 3), dtype=np.uint8), MEASURES, Spent())
    assert sorted(Records(path.parents[3], "tune", PLAIN).rows) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["..", ".", "...", "", "ä" * 128])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"`name` .* cannot name a folder for results"):
        configure(name)
    with pytest.raises(InvalidInputError, match=r"`name` .* cannot name a folder for results"):
        dataclasses.replace(PLAIN, name=name)


def test_weights_that_were_trained_on_are_other_weights(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("one")
    before = weights_of("sd3.5", str(tmp_path))
    assert weights_of("sd3.5", str(tmp_path)) == before
    (tmp_path / "model").write_text("other")
    assert weights_of("sd3.5", str(tmp_path)) != before


def test_the_code_is_that_of_every_project_that_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = code.code_of((PLAIN.backbone, PLAIN.inversion))
    assert PLAIN.record.code == built_in and set(built_in) == {"torch", "diffusers", "transformers", "headrouter"}
    assert built_in["headrouter"].version == headrouter.__version__
    package = tmp_path / "somebodys_method"
    package.mkdir()
    (package / "__init__.py").write_text("class Method: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    from somebodys_method import Method  # type: ignore[import-not-found]

    def theirs() -> code.Code:
        for cached in (code._code, code._source):
            cached.cache_clear()
        found = code.code_of((PLAIN.backbone, Method()))
        assert found.pop("headrouter") == built_in["headrouter"]
        return found.pop("somebodys_method")

    first = theirs()
    assert first == theirs()
    (package / "formula.py").write_text("GAMMA = 2\n")
    second = theirs()
    (package / "formula.py").write_text("GAMMA = 3\n")
    assert len({str(one) for one in (first, second, theirs())}) == 3


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True, text=True
        ).stdout

    def commit() -> str:
        code.commit.cache_clear()
        return code.commit()

    file = tmp_path / "headrouter" / "__init__.py"
    file.parent.mkdir()
    file.write_text("")
    monkeypatch.setattr(code, "_FOLDER", file.parent)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=of another project")
    assert commit() == ""
    git("add", "headrouter")
    git("commit", "--quiet", "--message=first")
    assert commit() == git("rev-parse", "--short=12", "HEAD").strip()
    file.write_text("changed")
    assert commit().endswith("-dirty")
    code.commit.cache_clear()


def test_results_with_the_old_names_of_measures_are_read(path: Path) -> None:
    new = path.read_text()
    old = new.replace('"preservation"', '"kept"').replace('"others_unchanged"', '"others_kept"')
    assert old != new
    expected = [dataclasses.astuple(row.measures) for row in complete(path.parents[3]).rows.values()]
    path.write_text(old)
    found = [dataclasses.astuple(row.measures) for row in complete(path.parents[3]).rows.values()]
    assert repr(found) == repr(expected)


def test_results_of_an_earlier_version_are_of_other_code(tmp_path: Path) -> None:
    """As the record was before it had a format."""
    path = complete(tmp_path).folder / "configuration.json"
    theirs = json.loads(path.read_text())
    record = {"backbone": {"name": "sd3.5"}, "weights": "0" * 16, "still": "source", "code": {"torch": "2.13.0"}}
    path.write_text(json.dumps({**theirs, "record": record, "hash": "0" * 16}))
    with pytest.raises(InvalidInputError, match=r"results of other code: code of an earlier version; commit .*, here "):
        Records(tmp_path, "tune", PLAIN)


@pytest.mark.parametrize("record", [None, 3, [], "headrouter", {"headrouter": 3}, {"headrouter": {"format": 9}}])
def test_a_configuration_edited_by_hand_is_refused(record: object, tmp_path: Path) -> None:
    path = complete(tmp_path).folder / "configuration.json"
    path.write_text(json.dumps({"hash": "0" * 16, "record": record}))
    with pytest.raises(InvalidInputError, match=r"configuration\.json' is damaged: |of other code"):
        Records(tmp_path, "tune", PLAIN)


class Other(Euler):
    """An inversion of another project."""


def test_a_reference_does_not_depend_on_the_configurations_beside_it() -> None:
    plain, other = (
        dataclasses.replace(
            PLAIN, still="source", inversion=inversion, methods=(NoMethod(),), steps=steps, guidance=2.0
        )
        for inversion, steps in ((Euler(steps=3), 3), (Other(steps=4), 4))
    )
    assert plain.record == other.record and plain.hash != dataclasses.replace(plain, still="target").hash
    assert dataclasses.replace(other, still="").hash != dataclasses.replace(plain, still="").hash
