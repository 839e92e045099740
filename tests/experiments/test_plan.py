"""Plans: counts that are those of a run, estimates from records, and all that is missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from headrouter.cli import main
from headrouter.cli.commands.experiment_plan import print_plan
from headrouter.config.yaml_document import parse_yaml
from headrouter.editing import tuning
from headrouter.editing.assembly import inversion_of
from headrouter.editing.batch import Batch, Task
from headrouter.errors import InvalidInputError
from headrouter.experiments import Experiment, plan, read_experiment, select
from headrouter.experiments.planning.estimates import pace_of
from headrouter.experiments.planning.rehearsal import rehearse
from headrouter.experiments.selection import shard_of
from headrouter.masks.attention import AttentionMask
from headrouter.masks.combined import Union
from headrouter.methods.head_router.method import HeadRouter
from headrouter.plugins import registry
from headrouter.testing.toy import ToyMMDiT

EDITORS = """
dataset: {name: shapes, count: 8}
metrics: [shapes-1]
seeds: [0, 1]
editors:
  - {name: command, label: copy, command: "cp {picture} {output}"}
  - {name: command, label: broken, command: "false {picture} {output}"}
baseline: copy
"""


def read(text: str) -> Experiment:
    return read_experiment(parse_yaml(text, "x.yaml"))


@pytest.mark.parametrize("name", [entry.item.name for entry in registry().entries("inversion")])
def test_the_counts_are_those_of_a_run(name: str) -> None:
    toy, inversion = ToyMMDiT(), inversion_of(name, {"steps": 6})
    way = tuning.Plan(inversion, (), 6, 3.0)
    task = Task(("a dog", "a red cat"), (0,), "a cat", torch.zeros(1, 3, 24, 16))
    batch = Batch(toy, way, (task,), (16, 24))
    start, inverting = batch.invert()
    sampling = batch.edit(start).cost
    found = rehearse(way)
    assert (found.inversion, found.inversion_rows) == (inverting.calls, inverting.rows)
    assert (found.sampling, found.rows(2)) == (sampling.calls, sampling.rows)
    steered = rehearse(tuning.Plan(inversion, (HeadRouter(),), 6, 3.0))
    assert steered.sampling == found.sampling and steered.source_rows >= found.source_rows
    routed = Batch(toy, tuning.Plan(inversion, (HeadRouter(),), 6, 3.0), (task,), (16, 24)).edit(start).cost
    assert steered.rows(2) >= routed.rows and steered.edit_rows >= found.edit_rows


def test_nothing_is_shared_where_a_mask_may_listen() -> None:
    inversion = inversion_of("flowedit", {"steps": 6})
    alone, masked = (
        rehearse(tuning.Plan(inversion, (), 6, 3.0, mask=mask)) for mask in (None, Union(of=(AttentionMask(),)))
    )
    assert masked.edit_rows == alone.edit_rows + 1 and masked.source_rows == alone.source_rows


def test_nothing_is_shared_where_word_maps_are_kept() -> None:
    text = "dataset: {name: shapes, count: 4}\nmodel: shapes\nmatrix: {inversion: flowedit, method: none, steps: 10}\n"
    alone, kept = (plan(read(text + more)) for more in ("", "diagnostics: [words]\n"))
    assert kept.rows == alone.rows + kept.cells and kept.calls == alone.calls


def test_an_inversion_counts_once_and_a_seed_where_noise_is_drawn() -> None:
    text = "dataset: {name: shapes, count: 8}\nmodel: shapes\nseeds: [0, 1]\nmatrix:\n  steps: 10\n  guidance: 3\n"
    found = plan(read(text + "  inversion: [euler, {name: euler, sweep: {guidance: [5]}}, sdedit]\n  method: none\n"))
    euler, again, sdedit = found.configurations
    assert (euler.cells, sdedit.cells, found.cells) == (8, 16, 32) and found.pictures == 2
    assert (euler.calls, again.calls) == (2 * 20, 2 * 10)
    assert euler.rows - again.rows == 2 * 10
    assert (
        sdedit.rows == sdedit.calls // (2 * 2) * 8 * 2 * 2
    )  # of each picture and seed: eight edits, two branches, two seeds
    assert found.seconds is None and found.memory["sd3.5"] > 4 * 2**20 and not found.missing


def test_estimates_are_of_the_configuration_before_the_model() -> None:
    class Timed:
        backbone, configuration, spent = "sd3.5", "euler", {"seconds": 2.0, "rows": 10.0}

    text = "dataset: {name: shapes, count: 4}\nmodel: shapes\n"
    text += "matrix: {inversion: [euler, rf], method: none, backbone: [sd3.5, flux]}"
    experiment = read(text)
    found = plan(experiment, pace=pace_of(experiment, [Timed(), Timed()], "records"))
    by_key = {one.configuration.key: one for one in found.configurations}
    assert by_key["sd3.5/euler"].seconds == 2.0 * 4
    assert by_key["sd3.5/rf"].seconds == pytest.approx(0.2 * by_key["sd3.5/rf"].rows)
    assert by_key["flux/euler"].seconds is None and found.seconds is None


def test_what_is_missing_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = "dataset: shapes\nmatrix: {backbone: flux, inversion: rf}\n"
    text += "editors: [{name: command, command: 'no-such {picture} {output}'}]"
    (tmp_path / "x.yaml").write_text(text)
    for action in ("plan", "run"):
        assert main(["experiment", action, str(tmp_path / "x.yaml"), "-o", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert "the weights of flux (dev) are gated: accept the licence" in said
        assert "there is no program 'no-such'" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_shares_are_apart_and_all_together(shares: int) -> None:
    items = read(EDITORS.replace("count: 8", "count: 40")).items
    parts: list[Sequence[Any]] = [select(items, shard=(share, shares)) for share in range(1, shares + 1)]
    assert sorted(item.key for part in parts for item in part) == sorted(item.key for item in items)
    pictures = [{item.picture_key for item in part} for part in parts]
    assert sum(map(len, pictures)) == len(set().union(*pictures)) == 10
    assert max(map(len, pictures)) - min(map(len, pictures)) <= 1


def test_a_limit_is_of_edits() -> None:
    items = read(EDITORS).items
    assert select(items, limit=3) == list(items[:3]) and select(items, limit=99) == list(items)
    for wrong in ({"limit": 0}, {"shard": (0, 2)}, {"shard": (3, 2)}):
        with pytest.raises(InvalidInputError, match="must be"):
            select(items, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"`--shard` must be i/n"):
        shard_of("half")


def test_the_commands_lead_from_a_file_to_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(tmp_path / "x.yaml"), str(tmp_path / "out")
    (tmp_path / "x.yaml").write_text(EDITORS)
    assert main(["experiment", "plan", file, "-o", out, "--limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "3 edits of 1 pictures" in shown and "Time is unknown: nothing was run yet." in shown
    assert main(["experiment", "run", file, "-o", out, "--no-progress", "--limit", "3"]) == 0
    assert main(["experiment", "run", file, "-o", out, "--no-progress"]) == 0
    capsys.readouterr()
    assert main(["experiment", "plan", file, "-o", out]) == 0
    assert "Time: from 16 records" in capsys.readouterr().out
    assert main(["experiment", "status", out]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["editors/copy", "16", "0", "0"] in lines and ["editors/broken", "0", "16", "0"] in lines


def test_a_plan_names_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    text = "dataset: {name: shapes, count: 4}\nmodel: shapes\nmatrix: {inversion: [rf, euler], preset: stylization, method: none}"
    print_plan(plan(read(text)))
    shown = capsys.readouterr().out
    assert "1 of the matrix cannot be run, and are left out:\n- sd3.5 euler: `preset` 'stylization' gives" in shown
