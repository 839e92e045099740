"""``make gpu``, tried on the CPU with small models: every part gives figures, or says why not."""

import json
import re
from importlib.metadata import requires
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import models
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import identity
from headrouter.attention.joint_attention import JointAttention

ROOT = Path(__file__).parents[2]


def test_every_part_gives_a_figure_or_a_row_that_says_why_not(tmp_path, capsys):
    code = command.main(["--device", "cpu", "--tiny", "--rounds", "1", "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert (tmp_path / "gpu.md").read_text() in capsys.readouterr().out
    errors = {figure["what"]: figure["error"] for figure in figures if figure["error"]}
    assert set(errors) == {"kernel efficient", "kernel cudnn", "offload model", "offload group"}
    assert "no cudnn kernel" in errors["kernel cudnn"]
    assert "computes on the CPU" in errors["offload group"]
    assert code == 1
    exact = [figure for figure in figures if figure["goal"] and figure["goal"][0] == "="]
    assert len(exact) == 2 * 4 + 1 + 1, "identity of four models, one kernel, compilation"
    assert all(figure["met"] for figure in exact)
    whats = " ".join(figure["what"] for figure in figures)
    for part in (
        "log-sum-exp against",
        "compiled",
        "refinement of",
        "SD3.5-medium, tiny: peak",
        "FLUX.1-dev, tiny: peak",
    ):
        assert part in whats


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


def test_the_packages_to_bring_along_cover_what_the_project_needs():
    named = {
        re.sub(r"[-_.]+", "-", line).lower() for line in (ROOT / "benchmarks/gpu/packages.txt").read_text().split()
    }
    needed = {re.split(r"[<>=!~ ]", line)[0].lower() for line in requires("headrouter") if "extra ==" not in line}
    unused = {"matplotlib", "scipy", "scikit-image"}
    assert needed - named == {"torch", *unused}, (
        "PyTorch is there already; nothing is drawn, and no statistics are made"
    )
    assert not {name for name in named if name.startswith(("torch", "nvidia", "triton"))}
