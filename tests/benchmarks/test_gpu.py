"""``make gpu``, tried on the CPU with small models: every part gives figures, or says why not."""

import json
import re
import time
from importlib.metadata import distribution, distributions, requires
from pathlib import Path

import headrouter_shapes.weights
import pytest
import torch
from torch import nn

from benchmarks import models
from benchmarks.figure import Figure
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import checkout, edits, identity
from benchmarks.gpu.setting import Setting
from headrouter.attention.joint_attention import JointAttention
from headrouter.methods.head_router.method import HeadRouter

ROOT = Path(__file__).parents[2]


def test_every_part_gives_a_figure_or_a_row_that_says_why_not(tmp_path, capsys):
    code = command.main(["--device", "cpu", "--tiny", "--rounds", "1", "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert (tmp_path / "gpu.md").read_text() in capsys.readouterr().out
    errors = {figure["what"]: figure["error"] for figure in figures if figure["error"]}
    assert set(errors) == {"kernel efficient", "kernel cudnn", "offload model", "offload group"}
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == [figure["what"] for figure in figures]
    assert list(dict.fromkeys(line["part"] for line in lines)) == list(command.PARTS)
    assert "no cudnn kernel" in errors["kernel cudnn"]
    assert "computes on the CPU" in errors["offload group"]
    assert code == 1
    exact = [figure for figure in figures if figure["goal"] and figure["goal"][0] == "="]
    assert len(exact) == 2 * 4 + 4 + 1, "identity of four models, two edits of two, one kernel"
    assert all(figure["met"] for figure in exact)
    whats = " ".join(figure["what"] for figure in figures)
    for part in (
        "log-sum-exp against",
        "compiled blocks, tiny: HeadRouter, over plain",
        "refinement of",
        "SD3.5-medium, tiny, bfloat16: HeadRouter by plain operations, over plain",
        "FLUX.1-dev, tiny, bfloat16: HeadRouter, over plain",
        "FLUX.1-dev, tiny, 8 rows, HeadRouter: memory",
    ):
        assert part in whats


def test_a_checkout_declares_the_parts_that_an_installation_has(tmp_path):
    (found,) = (one for one in distributions(path=[str(checkout.written(tmp_path))]))
    assert found.name == "headrouter"
    parts = {(one.group, one.name, one.value) for one in found.entry_points}
    installed = {(one.group, one.name, one.value) for one in distribution("headrouter").entry_points}
    assert parts == {one for one in installed if one[0] != "console_scripts"} and len(parts) > 20


def test_identity_sees_a_single_changed_number():
    class Meddling(identity.PassThrough):
        pass

    forward = models.forward(models.flux(models.TINY, torch.bfloat16), models.TINY)
    original = JointAttention.attend
    try:
        JointAttention.attend = lambda self, **asked: original(self, **asked) * 1.01
        *_, heard, kept = identity.of_model(forward, "x")
    finally:
        JointAttention.attend = original
    assert heard.value > 0 and heard.met is False and kept.met is False


def test_a_model_that_gives_no_numbers_is_not_called_identical():
    forward = models.forward(models.flux(models.TINY, torch.bfloat16), models.TINY)
    nn.init.constant_(forward.backbone.pipeline.transformer.proj_out.weight, float("nan"))
    with pytest.raises(AssertionError, match="not finite"):
        list(identity.of_model(forward, "x"))


def test_without_the_device_it_says_so(capsys):
    with pytest.raises(SystemExit):
        command.main(["--device", "cuda:99"])
    assert "cannot be used here" in capsys.readouterr().err


def test_a_part_that_takes_too_long_gives_way_to_the_next(tmp_path, monkeypatch):
    def endless(setting):
        yield Figure("first", 1.0)
        time.sleep(30)

    monkeypatch.setattr(command, "PARTS", {"endless": endless, "next": lambda setting: iter([Figure("second", 2.0)])})
    assert command.main(["--device", "cpu", "--tiny", "--limit", "1", "--out", str(tmp_path)]) == 1
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["first", "endless", "second"]
    assert lines[1]["error"] == "TimeoutError: took more than 1 s"


def test_without_weights_an_edit_runs_on_random_ones(monkeypatch, tmp_path):
    monkeypatch.setattr(headrouter_shapes.weights, "model_path", lambda family: tmp_path)
    setting = Setting(torch.device("cpu"), True, 1, lambda line: None)
    figures = list(edits.of_family(setting, "sd3.5"))
    assert all(figure.met and "random weights" in figure.note for figure in figures)
    assert len(figures) == 4


def test_methods_are_attached_once_for_many_passes():
    forward = models.forward(models.flux(models.TINY, torch.float32), models.TINY)
    with forward.passes() as once:
        plain = once()
    with forward.passes(HeadRouter()) as once:
        steered, again = once(), once()
    torch.testing.assert_close(steered, again)
    assert torch.equal(steered[0], plain[0])
    assert (steered[1] - plain[1]).abs().max() > 1e-3


def test_the_packages_to_bring_along_cover_what_the_project_needs():
    named = {
        re.sub(r"[-_.]+", "-", line).lower() for line in (ROOT / "benchmarks/gpu/packages.txt").read_text().split()
    }
    needed = {re.split(r"[<>=!~ ]", line)[0].lower() for line in requires("headrouter") if "extra ==" not in line}
    unused = {"matplotlib", "scipy", "scikit-image", "openpyxl", "pyarrow"}
    page = " ".join((ROOT / "docs/benchmarks.md").read_text().split())
    there = set(page.partition("of PyTorch (")[2].partition(")")[0].lower().split(", "))
    with_torch = {"jinja2"}
    assert needed - named - unused - there - with_torch == {"torch"}, "nothing is drawn, and no statistics are made"
    pins = (ROOT / "constraints.txt").read_text()
    (core,) = [line for line in requires("pydantic") if line.lower().startswith("pydantic-core")]
    assert core.lower().replace(" ", "") in pins, "pip download takes the newest, which pydantic refuses"
    assert not {name for name in named if name.startswith(("torch", "nvidia", "triton"))}
