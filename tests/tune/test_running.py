"""What a search runs, keeps, repeats and survives, on a toy model."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from headrouter_tune import running
from headrouter_tune.front import non_dominated
from headrouter_tune.results import write_results

from experiments import light
from headrouter.config.configuration import Override
from headrouter.config.yaml_document import read_yaml
from headrouter.errors import InvalidInputError
from headrouter.experiments import read_experiment
from headrouter.experiments.composing import read_configuration
from headrouter.experiments.results.report import report
from headrouter.experiments.run_folder.reading import read_records
from headrouter.experiments.running.editing import loading
from headrouter.plugins import reload
from tune import toy


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def test_a_search_goes_on_where_it_was_and_runs_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, backbone_of = count(), loading.backbone_of
    networks, load = count(), toy.light.Likeness.load
    monkeypatch.setattr(
        loading, "backbone_of", lambda *given, **values: (next(loads), backbone_of(*given, **values))[1]
    )
    monkeypatch.setattr(toy.light.Likeness, "load", lambda *given: (next(networks), load(*given))[1])
    first = toy.run(tmp_path, toy.search(Override(("trials",), 4)))
    assert next(loads) == next(networks) == 1, "what is loaded stays from trial to trial"
    made = list[Any]()
    found = toy.run(tmp_path, report=made.append)
    assert toy.shown(found)[:4] == toy.shown(first) and len(found.points) == 6
    assert len(made) == 2 * 3 and len(read_records(tmp_path)) == 6 * 3
    assert len({point.configuration.hash for point in found.points}) == 6
    assert found.points[0].configuration.name == "base" and found.repeated >= 1, "the sampler is given the base"
    assert toy.shown(toy.run(tmp_path / "new")) == toy.shown(found)


def test_a_search_killed_again_and_again_finds_the_same(tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked")
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), str(tmp_path), "0", "2", "4", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["again"] == found["whole"] and found["deaths"] == 4


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    def interrupt(record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path, report=interrupt)
    assert toy.shown(toy.run(tmp_path)) == toy.shown(toy.run(tmp_path / "new"))


def test_results_are_a_front_with_presets_and_an_experiment(tmp_path: Path) -> None:
    search = toy.search()
    outcome = toy.run(tmp_path, search)
    found, front = write_results(search, outcome, tmp_path), non_dominated(outcome.points, search.objectives)
    assert [row[0] for row in found.rows] == [str(point.number) for point in front] and front
    assert "optimistic" in found.remarks[0] and all(path.is_file() for path in found.files)
    again = read_experiment(tmp_path / "tune" / "best.yaml")
    hashes = {one.hash for one in again.configurations}
    assert hashes == {outcome.points[0].configuration.hash, *(point.configuration.hash for point in front)}
    presets = sorted((tmp_path / "tune" / "presets").iterdir())
    assert len(presets) == len(front)
    for point, path in zip(sorted(front, key=lambda one: one.number), presets, strict=True):
        assert (
            read_yaml(path)
            .data["provenance"]
            .startswith("headrouter tune, best of 6 configurations, 3 edits each, of ")
        )
        one = point.configuration
        parts: dict[str, Any] = {"backbone": "toy", "method": ["headrouter", "injection"], "preset": str(path)}
        parts |= {"inversion": type(one.inversion).__name__.lower(), "operator": "gate" if one.operators else "none"}
        assert read_configuration("by preset", "", parts).hash == one.hash
    assert "noise, 3 edits" in report(tmp_path).files[0].read_text() or (tmp_path / "report" / "index.html").is_file()


def test_a_front_that_moves_leaves_no_presets_of_before(tmp_path: Path) -> None:
    search = toy.search()
    (tmp_path / "tune" / "presets").mkdir(parents=True)
    (tmp_path / "tune" / "presets" / "toy-099.yaml").touch()
    write_results(search, toy.run(tmp_path, search), tmp_path)
    assert not (tmp_path / "tune" / "presets" / "toy-099.yaml").exists()


def test_presets_of_the_base_come_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nreference_steps: 4\nprovenance: x\nvalues: {method: {headrouter: {gamma: 0.125}}, inversion: {flowedit: {}}}"
    )
    search = toy.search(presets=[str(path)], trials=3)
    outcome = toy.run(tmp_path / "run", search)
    assert [one.configuration.name for one in outcome.points[:2]] == ["base", "preset mine"]
    assert outcome.points[1].configuration.methods[0].gamma == 0.125  # type: ignore[attr-defined]
    assert outcome.repeated >= 2, "the sampler is given both"


def test_a_search_that_runs_out_of_new_configurations_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_IDLE", 12)
    search = toy.search(search={"guidance": [1, 3.5], "inversion.last_steps": [0.5, 1.0]}, trials=9)
    outcome = toy.run(tmp_path, search)
    assert outcome.exhausted and len(outcome.points) == 4, "all combinations, of which the base is one"
    assert any("ended early" in one for one in write_results(search, outcome, tmp_path).remarks)


def test_suggestions_that_do_not_go_together_are_counted_and_not_run(tmp_path: Path) -> None:
    fields = {"inversion.last_steps": [1, 2], "inversion.plain_steps": [1, 2, 3, 4]}
    search = toy.search(search=fields, trials=3)
    outcome = toy.run(tmp_path, search)
    assert outcome.impossible and len(outcome.points) == 3
    assert any("cannot be run, such as last_steps=" in one for one in write_results(search, outcome, tmp_path).remarks)


def test_configurations_with_failed_edits_have_no_values(tmp_path: Path) -> None:
    dataset = {"name": "noise", "pictures": 3, "edits": 1, "broken": [1]}
    search = toy.search(dataset=dataset, trials=2)
    outcome = toy.run(tmp_path, search)
    assert [(one.failed, one.values) for one in outcome.points] == [(1, None)] * 2
    found = write_results(search, outcome, tmp_path)
    assert not found.rows and any("2 configurations have failed edits" in one for one in found.remarks)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"seed": 4}, "`seed`"),
        ({"objectives": ["mean", "psnr"]}, "`objectives`"),
        ({"search": {"guidance": [1, 2]}}, "`search`"),
    ],
)
def test_a_folder_of_another_search_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    toy.run(tmp_path, toy.search(trials=1))
    with pytest.raises(InvalidInputError, match=f"another {named}, whose suggestions"):
        toy.run(tmp_path, toy.search(**changes))


def test_folders_of_experiments_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.search(trials=1))
    (tmp_path / "tune.json").write_text("[")
    with pytest.raises(InvalidInputError, match=r"tune\.json' is damaged"):
        toy.run(tmp_path)
    (tmp_path / "tune.json").unlink()
    with pytest.raises(InvalidInputError, match="holds an experiment and no search"):
        toy.run(tmp_path)
