"""Both reproduction files, from the plan to the paper's tables; only weights, data and sizes are others than theirs."""

import csv
from pathlib import Path

import pytest

from headrouter.experiments import Experiment, plan, report, run
from headrouter.experiments.results.report import Report

from . import conftest

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning"
)  # of diffusers' pipelines


def done(experiment: Experiment, folder: Path) -> Report:
    plan(experiment).refuse_missing()
    records = run(experiment, folder, progress=False)
    assert len(records) == len(list(experiment.cells()))
    assert {(one.configuration, *one.failures.values()) for one in records if one.failures} == set()
    assert all(set(one.measures) == set(experiment.metrics) for one in records)
    return report(folder, paper=True)


def figures(folder: Path) -> list[dict[str, str]]:
    with (folder / "published.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_1(place: Path, tmp_path: Path) -> None:
    settings = {
        "dataset/sets/0/folder": str(place / "PIE-Bench_v1"),
        "dataset/sets/1/folder": str(place / "TEdBench_plusplus"),
        "metrics/0/model": str(place / "clip"),
        "metrics/1/model": str(place / "dinov2"),
        "metrics/2/model": str(place / "dino"),
        "metrics/3/weights": str(place / "lpips"),
        "backbone/model": str(place / "flux"),
        "editors/0/model": str(place / "instruct-pix2pix"),
        "editors/0/area": 64 * 64,
        "editors/0/steps": 2,
        "editors/1/model": str(place / "stable-diffusion"),
        "editors/1/area": 64 * 64,
        "editors/1/steps": 4,
    }
    experiment = conftest.small("headrouter-table1.yaml", settings)
    assert [item.kind for item in experiment.items] == [
        "pie-bench: random", "pie-bench: change_style", *["tedbench-pp: edit"] * 3
    ]  # fmt: skip
    found = done(experiment, tmp_path)
    (compared,) = found.comparisons
    assert compared.headings == ["whose", "system", "model", "CLIP-T ↑", "DINOv2 ↑", "DINO ↑", "LPIPS ×10³ ↓"]
    lines = [(line.origin, line.cells[1].text) for line in compared.lines]
    assert lines[-4:] == [
        ("published", "HeadRouter"), *[("ours", f"HeadRouter, {name}") for name in ("paper", "release", "defaults")]
    ]  # fmt: skip
    assert ("missing", "P2P + NTI") in lines and ("ours", "InstructPix2Pix") in lines and ("ours", "LEDITS++") in lines
    assert [cell.text for cell in compared.lines[-4].cells[3:]] == ["32.03", "0.9194", "0.9194", "210.3"]
    written = figures(tmp_path)
    assert len(written) == 4 * len(compared.lines)
    assert all("not known to be ours" in one["notes"] for one in written if one["whose"] == "published")
    assert all("Ours over 5 edits" in one["notes"] for one in written if one["whose"] == "ours")
    assert {path.name for path in (tmp_path / "paper").iterdir()} >= {
        "table-flux.tex", "paired-flux.tex", "table-editors.tex", "published-1.tex", "trade-off-flux.svg", "by-kind-flux.png"
    }  # fmt: skip


def test_inversions_on_pie_bench(place: Path, tmp_path: Path) -> None:
    networks = {
        f"metrics/{number}/{name}": str(place / folder)
        for number in range(2)
        for name, folder in (("clip", "clip"), ("dino", "dino"), ("squeezenet", "lpips"))
    }
    settings = {
        "dataset/folder": str(place / "PIE-Bench_v1"),
        "dataset/count": 1,
        "matrix/backbone/0/model": str(place / "flux"),
        "matrix/backbone/1/model": str(place / "sd3.5"),
        **networks,
    }
    found = done(conftest.small("pie-bench-flow.yaml", settings), tmp_path)
    assert [one.title.partition(",")[0] for one in found.comparisons] == [
        "FireFlow",
        "DNAEdit",
        "DecFlowEdit",
        "LayerVerse",
    ]
    ours = {
        (line.cells[1].text, line.cells[2].text)
        for one in found.comparisons
        for line in one.lines
        if line.origin == "ours"
    }
    assert ours == {
        *((name, "flux") for name in ("rf", "rf-solver", "fireflow 8", "fireflow 15", "flowedit")),
        ("flowedit for SD3", "sd3.5"),
    }  # fmt: skip
    text = (tmp_path / "table.md").read_text()
    assert (
        "| published | FireFlow" in text and "ours is measured with `clip`" in text and "- missing: MasaCtrl: " in text
    )
