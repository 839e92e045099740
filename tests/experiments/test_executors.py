"""Executors whose workers are in other processes survive deaths and write the same folder. See ``executor_runs.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from headrouter_ray import executor
from headrouter_ray.executor import RayExecutor

from headrouter.cli import main
from headrouter.errors import InvalidInputError


@pytest.mark.parametrize("kind", ["ray", "processes"])
def test_two_workers_one_of_them_killed(kind: str, tmp_path: Path) -> None:
    """Nothing is lost or done twice, the folder is that of threads in one process, and nothing is left behind."""
    if kind == "ray":
        pytest.importorskip("ray")
    command = [sys.executable, str(Path(__file__).with_name("executor_runs.py")), kind, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])  # Ray says above it that an actor died
    assert found["wrong"] == [] and found["left"] == [] and found["same"]
    assert found["kills"] == 1 and found["records"] == found["reported"] == 96 and found["processes"] >= 2
    assert [pid for pid in found["workers"] if Path(f"/proc/{pid}").exists()] == []


def test_without_ray_the_executor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    (tmp_path / "x.yaml").write_text(
        "dataset: {name: shapes, count: 4}\neditors: [{name: command, command: 'cp {picture} {output}'}]"
    )
    for action in ("plan", "run"):
        command = ["experiment", action, str(tmp_path / "x.yaml"), "-o", str(tmp_path / "out"), "--executor", "ray"]
        assert main(command) == 2
        assert "`executor` 'ray' needs the package ray, which is not installed. Install it:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_device_is_for_ray_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "find_spec", lambda name: name)
    RayExecutor().check("auto")
    with pytest.raises(InvalidInputError, match=r"`device` is for Ray to choose.*got 'cuda:1'"):
        RayExecutor().check("cuda:1")


def test_what_the_cluster_has_decides_how_many_actors_there_are() -> None:
    there = {"CPU": 32.0, "GPU": 8.0}
    assert RayExecutor().room(there) == (8, {"num_gpus": 1.0, "num_cpus": 1})
    assert RayExecutor(gpus=0.5).room(there) == (16, {"num_gpus": 0.5, "num_cpus": 1})
    assert RayExecutor(cpus=8).room(there)[0] == 4
    assert RayExecutor(workers=3).room({"CPU": 4.0}) == (3, {"num_gpus": 0.0, "num_cpus": 1})
    with pytest.raises(
        InvalidInputError, match=r"`executor.workers` must fit the cluster: 9 with 1 GPU each \(`executor.gpus`\)"
    ):
        RayExecutor(workers=9).room(there)
    with pytest.raises(InvalidInputError, match=r"1 with 1 GPU each \(`executor.gpus`\) are more than its 0 GPU"):
        RayExecutor(gpus=1).room({"CPU": 4.0})


def test_the_core_imports_no_ray() -> None:
    code = "import sys, headrouter.experiments.running.runner, headrouter_ray.executor; sys.exit('ray' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
