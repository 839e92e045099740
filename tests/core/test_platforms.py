"""Systems and devices that lack something that Linux on a CPU or CUDA has: Windows without `resource`, MPS without an operation."""

import builtins
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from headrouter_diffusers.components.single_file import single_file
from headrouter_sd3.parameters import SD3Parameters
from PIL import Image

from headrouter import Editor
from headrouter.attention import kernels
from headrouter.editing.assembly import model_of
from headrouter.errors import WeightsError
from headrouter.sampling.cost import Meter
from headrouter.testing.snapshot import snapshot
from headrouter.testing.toy import ToyMMDiT

POSIX = ("resource", "fcntl", "pwd", "grp", "termios", "syslog", "nis", "crypt", "spwd", "pty", "tty")
"""Modules that Windows lacks."""
CODE = f"""
import builtins, importlib, os, pkgutil, sys
real = builtins.__import__
def fake(name, importer=None, *rest, **more):
    if name.partition(".")[0] in {POSIX} and (importer or {{}}).get("__name__", "").startswith("headrouter"):
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return real(name, importer, *rest, **more)
builtins.__import__ = fake
for name in ("sysconf", "fork", "mkfifo"):
    delattr(os, name)
import headrouter
for found in pkgutil.walk_packages(headrouter.__path__, "headrouter."):
    if "__main__" not in found.name:
        importlib.import_module(found.name)
from headrouter.cli import main
sys.exit(main(["doctor", "--json"]))
"""


def test_the_core_and_the_doctor_without_posix():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {row["device"] for row in json.loads(done.stdout)["devices"]} >= {"cpu"}


@pytest.fixture
def windows(monkeypatch):
    """No `resource`, and a psutil that knows the peak of the working set."""
    real = builtins.__import__

    def fake(name, *rest, **more):
        if name == "resource":
            raise ModuleNotFoundError("No module named 'resource'", name="resource")
        return real(name, *rest, **more)

    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=123 << 20))
    monkeypatch.setattr(builtins, "__import__", fake)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))


@pytest.mark.usefixtures("windows")
def test_cost_on_windows():
    with Meter(torch.device("cpu")) as meter:
        pass
    assert meter.cost().peak_memory == 123 << 20
    result = Editor(ToyMMDiT(), "euler", "none", progress=False).edit(Image.new("RGB", (32, 32)), "a dog", steps=2)
    assert result.cost.peak_memory == 123 << 20


def test_cost_elsewhere():
    with Meter(torch.device("cpu")) as meter:
        pass
    assert meter.cost().peak_memory > 2**20


def test_a_device_that_cannot_say_which_kernel_it_chooses(monkeypatch):
    def missing(*_, **__):
        raise NotImplementedError("Could not run 'aten::_fused_sdp_choice' with arguments from the 'MPS' backend.")

    query, key, value = torch.randn(3, 2, 4, 10, 16, generator=torch.Generator().manual_seed(0))
    expected = kernels.attend_with_log_sum_exp(query, key, value, 0.25)
    monkeypatch.setattr(torch, "_fused_sdp_choice", missing)
    monkeypatch.setattr(kernels, "_DEVICES", frozenset({"cuda"}))
    found, log_sum_exp = kernels.attend_with_log_sum_exp(query, key, value, 0.25)
    torch.testing.assert_close(found, expected[0])
    assert log_sum_exp is None and expected[1] is not None
    picture = Image.new("RGB", (32, 32), "teal")
    result = Editor(ToyMMDiT(), "euler", progress=False).edit(picture, "a dog", "a cat", steps=2)
    assert result.text_map("dog").isfinite().all()


def test_only_devices_with_kernels_are_asked():
    assert {device for device, _ in kernels._FUSED} == kernels._DEVICES == {"cpu", "cuda"}


def test_a_device_without_float64(monkeypatch):
    """Tensors of the model stay in at most float32 where they are; what needs more goes to the CPU first."""
    asked = []
    plain = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *values, **more: asked.append(more) or plain(*values, **more))
    snapshot(ToyMMDiT())
    assert asked
    assert all(str(more["device"]) == "cpu" for more in asked)


@pytest.mark.parametrize("path", [r"C:\models\flux", "C:/flux", r"models\flux", r"\\server\share\flux"])
def test_paths_of_windows_are_no_hub_ids(path):
    assert model_of("sd3", path)[0] == path
    with pytest.raises(WeightsError, match="neither a folder here nor a hub id"):
        SD3Parameters(device="cpu").load(path)


def test_a_home_that_nobody_has():
    assert single_file("~nobody-of-this-name/x.safetensors") is None
    with pytest.raises(WeightsError, match="neither a folder here nor a hub id"):
        SD3Parameters(device="cpu").load("~nobody-of-this-name/x.safetensors")
