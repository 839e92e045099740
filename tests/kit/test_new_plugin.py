"""``headrouter plugins new`` writes distributions that pass their own conformance tests, and the tutorial says how."""

import os
import re
import subprocess
import sys
from pathlib import Path
from string import Template

import headrouter_auraflow.backbone
import headrouter_auraflow.parameters
import pytest

from headrouter.cli import main
from headrouter.cli.commands.new_plugin import KINDS, _read
from headrouter.plugins import reload

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


def test_new_plugins_pass_their_own_tests(tmp_path, capsys):
    """One of each kind, in one process, as the first import of diffusers takes longer than all their tests."""
    for kind in KINDS:
        name = f"acme-{kind}"
        assert main(["plugins", "new", name, "--kind", kind, "-o", str(tmp_path / kind)]) == 0
        assert "pytest" in capsys.readouterr().out
        install(tmp_path / kind, name, f"headrouter_acme_{kind}")
    folders = [str(tmp_path / kind) for kind in KINDS]
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    done = run(tmp_path, "pytest", *options, *folders, path=os.pathsep.join(folders))
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


def test_the_tutorial_is_true(tmp_path, monkeypatch, capsys):
    text, folders = TUTORIAL.read_text(encoding="utf-8"), []
    monkeypatch.chdir(tmp_path)
    try:
        for line in re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE):
            program, *rest = line.split()
            if program == "pip":
                name = rest[-1].removeprefix("headrouter-")
                folders.append(tmp_path / f"headrouter-{name}")
                install(folders[-1], name, f"headrouter_{name}")
                monkeypatch.syspath_prepend(str(folders[-1]))
                reload()
            else:
                assert program == "headrouter"
                assert main(rest) == 0, (line, capsys.readouterr())
    finally:
        monkeypatch.undo()
        reload()
    written = [path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.*") if path.is_file()]
    blocks = re.findall(r"^```(?:python|toml)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) > 9 and [folder.name for folder in folders] == ["headrouter-acme", "headrouter-louder"]
    for block in blocks:
        assert any(block in page for page in written), f"the template has no such code:\n{block}"


@pytest.mark.parametrize(
    ("module", "template"),
    [(headrouter_auraflow.backbone, "backbone.py"), (headrouter_auraflow.parameters, "backbone_parameters.py")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_template_is_the_worked_example(module, template):
    """Under another name, line by line, apart from the docstrings that name it."""
    written = Template(_read(template)).substitute(name="auraflow", Class="AuraFlow", module="headrouter_auraflow")

    def code(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.strip().startswith('"""')]

    assert code(written) == code(Path(module.__file__).read_text(encoding="utf-8"))
