"""Commands say nothing that is not headrouter's and ask nothing of a network, whatever diffusers imports beside itself."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import headrouter

ROOT = Path(headrouter.__file__).parents[1]
NOTE = "Failed to load CPU gemm_4bit_forward from kernels-community: %s."
BITSANDBYTES = f"""
import logging
try:
    from kernels import get_kernel
    get_kernel("kernels-community/quantization-bitsandbytes")
except Exception as error:
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("{NOTE}", error)
"""
KERNELS = "import socket\n\ndef get_kernel(name):\n    socket.create_connection(('127.0.0.1', 9))\n"
PROGRAM = """
import sys

REACHES = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
sys.addaudithook(lambda event, _: event in REACHES and print(event, file=sys.stderr))
%s
assert "diffusers.quantizers.bitsandbytes" in sys.modules and "kernels" not in sys.modules
"""
COMMAND = "from headrouter.cli import main\nassert main(sys.argv[1:]) == 0"
ADAPTERS = """
from importlib import import_module
from headrouter.plugins import registry
for name in sorted({entry.item.target.partition(".")[0] for entry in registry().entries("backbone")} - {"headrouter"}):
    import_module(name + ".backbone")
"""


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bitsandbytes that asks the hub for a kernel, as the real one does on some processors."""
    folder = tmp_path_factory.mktemp("packages")
    for name, code in (("bitsandbytes", BITSANDBYTES), ("kernels", KERNELS)):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
        (folder / f"{name}-0.50.0.dist-info").mkdir()
        (folder / f"{name}-0.50.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 0.50.0\n")
    return folder


def said_by(code: str, arguments: list[str], first: Path) -> str:
    """What some code prints on its standard error, and its attempts to reach a machine; packages in ``first`` come first."""
    places = os.pathsep.join([str(first), *sys.path])
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM % code, *arguments],
        env={**os.environ, "PYTHONPATH": places, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stderr


def test_every_adapter_with_the_packages_that_are_installed(tmp_path: Path) -> None:
    assert said_by(ADAPTERS, [], tmp_path) == ""


def test_a_local_edit(beside: Path, saved: Path, tmp_path: Path) -> None:
    Image.new("RGB", (48, 32), "teal").save(tmp_path / "photo.png")
    model = ["--backbone", "sd3", "--model", str(saved / "sd3"), "--device", "cpu", "--steps", "1", "--no-progress"]
    asked = ["edit", str(tmp_path / "photo.png"), "--prompt", "a dog", "-o", str(tmp_path / "out"), *model]
    assert said_by(COMMAND, asked, beside) == ""


def imports(module: Path) -> list[str]:
    """The modules that a file imports at its beginning, in order; those of which it only takes the name are left out."""
    found: list[str] = []
    for line in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Import):
            found += [alias.name for alias in line.names if "." in alias.name]
        elif isinstance(line, ast.ImportFrom):
            found.append(line.module or "")
    return found


@pytest.mark.parametrize("folder", ["adapters", "plugins"])
def test_every_module_is_quiet_before_it_imports_diffusers(folder: str) -> None:
    found = {path: imports(path) for path in (ROOT / folder).rglob("*.py") if path.name != "quiet.py"}
    users = {
        path: names for path, names in found.items() if any(name.partition(".")[0] == "diffusers" for name in names)
    }
    assert len(users) > 5
    for path, names in users.items():
        first = next(number for number, name in enumerate(names) if name.partition(".")[0] == "diffusers")
        assert "headrouter_diffusers.quiet" in names[:first], path
