"""``headrouter plugins new`` writes distributions that pass their own conformance tests, and the tutorial says how."""

import os
import re
import subprocess
import sys
from pathlib import Path
from string import Template

import headrouter_auraflow.backbone
import pytest

from headrouter.cli import main
from headrouter.cli.commands.new_plugin import KINDS, _read

TUTORIAL = Path(__file__).parents[2] / "docs" / "plugins" / "tutorial.md"


def install(folder: Path, name: str, module: str) -> None:
    """What pip would write beside the module."""
    info = folder / f"headrouter_{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: headrouter-{name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[headrouter]\n{name} = {module}\n")


def run(folder: Path, *command: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(path or folder), "OMP_NUM_THREADS": "1"}
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


def test_the_tutorial_is_true(tmp_path):
    text, folders = TUTORIAL.read_text(encoding="utf-8"), []
    for line in re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE):
        program, *rest = line.split()
        if program == "pip":
            name = rest[-1].removeprefix("headrouter-")
            folders.append(tmp_path / f"headrouter-{name}")
            install(folders[-1], name, f"headrouter_{name}")
        else:
            done = run(tmp_path, f"{program}.cli", *rest, path=os.pathsep.join(map(str, folders)))
            assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-1000:])
    written = [path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.*") if path.is_file()]
    blocks = re.findall(r"^```(?:python|toml)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) > 9 and [folder.name for folder in folders] == ["headrouter-acme", "headrouter-louder"]
    for block in blocks:
        assert any(block in page for page in written), f"the template has no such code:\n{block}"


def test_the_template_is_the_worked_example():
    """Under another name, line by line, apart from the docstrings that name it."""
    example = Path(headrouter_auraflow.backbone.__file__).read_text(encoding="utf-8")
    template = Template(_read("backbone.py")).substitute(
        name="auraflow", Class="AuraFlow", module="headrouter_auraflow"
    )

    def code(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.strip().startswith('"""')]

    assert code(template) == code(example)
