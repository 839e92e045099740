"""``headrouter plugins new`` writes distributions that pass their own conformance tests, and the tutorial says how."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrouter.cli import main
from headrouter.cli.new_plugin import KINDS

TUTORIAL = Path(__file__).parents[2] / "docs" / "plugins" / "tutorial.md"


def install(folder: Path, name: str, module: str) -> None:
    """What pip would write beside the module."""
    info = folder / f"headrouter_{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: headrouter-{name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[headrouter]\n{name} = {module}\n")


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests(kind, tmp_path, capsys):
    folder = tmp_path / "new"
    assert main(["plugins", "new", "acme-xl", "--kind", kind, "-o", str(folder)]) == 0
    assert "pytest" in capsys.readouterr().out
    install(folder, "acme-xl", "headrouter_acme_xl")
    done = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d+ passed", done.stdout)
    assert "failed" not in done.stdout


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["plugins", "new", "acme", "-o", str(tmp_path)]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert main(["plugins", "new", "Acme!", "-o", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
