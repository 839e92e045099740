"""Fused kernels: interpreted, compiled without a GPU, chosen by themselves, and replaced by plain operations with a warning."""

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from headrouter.attention import fused
from headrouter.errors import FusedKernelWarning
from headrouter.methods.head_router import head_weights, steering
from headrouter.methods.head_router.steering import Refinement, steered_reference

pytest.importorskip("triton")


@pytest.fixture
def everywhere(monkeypatch):
    """Take the CPU for a GPU."""
    monkeypatch.setattr(fused, "fits", lambda tensor: True)
    monkeypatch.setattr(fused, "_refused", set())


def test_in_the_interpreter() -> None:
    """Triton decides by an environment variable, when it is imported, whether it interprets."""
    file = Path(__file__).with_name("fused_interpreted.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-4000:]


POINTERS = {"values", "query", "key", "log_sum_exp", "found", "source", "edit", "counted", "squares"} | {
    "gain", "reach", "block", "whole", "value", "count", "extent"
}  # fmt: skip
FLOAT32 = {"values", "log_sum_exp", "found", "squares", "gain", "reach", "block", "whole", "extent"}


@pytest.mark.parametrize(
    ("module", "kernel", "flags", "dtype"),
    [
        ("attention.fused_probabilities", "_probabilities", {"QUERIES": 64}, "bf16"),
        ("methods.head_router.fused.weights", "_squares", {"COUNTED": True}, "bf16"),
        ("methods.head_router.fused.weights", "_cosines", {"TILES": 64}, "fp32"),
        ("methods.head_router.fused.weights", "_stretch", {"FLOOR": 1e-6, "HEADS": 32}, "fp32"),
        ("methods.head_router.fused.weights", "_gains", {"ANCHORED": True, "VALUES": 128}, "fp32"),
        ("methods.head_router.fused.steering", "_reach", {"PARTS": 256}, "fp32"),
        ("methods.head_router.fused.steering", "_steer", {"FORM": 0, "DIFFERENCE": True, "REACH": True}, "bf16"),
        ("methods.head_router.fused.steering", "_steer", {"FORM": 1, "DIFFERENCE": False, "REACH": False}, "fp32"),
    ],
)
def test_they_compile_for_an_h100(module: str, kernel: str, flags: Any, dtype: str) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = getattr(importlib.import_module(f"headrouter.{module}"), kernel)
    sizes = {"KEYS": 16, "CHANNELS": 128, "TOKENS": 64, "AMPLIFIES": True, "REFINES": True, **flags}
    constants = {name: sizes[name] for name in function.arg_names if name in sizes}
    constants |= {name: 1 for name in function.arg_names if name.endswith("_d")}  # as Triton does with strides of 1
    types = {"counted": "*i1", "count": "*i64"}
    types |= dict.fromkeys(("scale", "alpha", "nu", "each", "gamma", "k", "delta"), "fp32")
    signature = {
        name: "constexpr"
        if name in constants
        else types.get(name) or (("*fp32" if name in FLOAT32 else f"*{dtype}") if name in POINTERS else "i32")
        for name in function.arg_names
    }
    options = {"num_warps": 8 if kernel in ("_squares", "_steer") else 4, "enable_fp_fusion": True}
    compiled = triton.compile(ASTSource(function, signature, constants), GPUTarget("cuda", 90, 32), options)
    assert len(compiled.asm["cubin"]) > 1000


def test_what_cannot_be_compiled_warns_once_and_is_plain(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    from headrouter.methods.head_router.fused import steering as fused_steering

    monkeypatch.setattr(fused_steering, "steer_", broken)
    output, block = torch.randn(1, 2, 30, 8), torch.rand(1, 2, 20, 3)
    given = (slice(4, 24), None, Refinement(block, torch.randn(1, 2, 3, 8), (3,), 2.0, 3.0, "share"))
    expected = steered_reference(output, *given)
    with pytest.warns(
        FusedKernelWarning, match=r"fused\.steering:steer_ cannot be used \(RuntimeError: Failed to find C compiler"
    ):
        steering.steer_(output, *given)
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steering.steer_(output, *given)


def test_no_memory_is_no_reason_to_go_on(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError

    from headrouter.methods.head_router.fused import weights

    monkeypatch.setattr(weights, "dissimilarity", full)
    with pytest.raises(torch.OutOfMemoryError):
        head_weights.dissimilarity(torch.randn(1, 2, 9, 8), torch.randn(1, 2, 9, 8))


def test_they_are_for_a_gpu_and_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        on_gpu = torch.empty(2, device="cuda", dtype=torch.bfloat16)
        assert fused.fits(on_gpu)
        assert not fused.fits(on_gpu.double()) and not fused.fits(on_gpu.requires_grad_())
        monkeypatch.setenv(fused.SWITCH, "0")
        assert not fused.fits(on_gpu.detach())
    monkeypatch.delenv(fused.SWITCH)
    assert not fused.fits(torch.empty(2))
