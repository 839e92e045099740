"""The site builds strictly: every link, anchor and public name; nothing comes from another host."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "_pages"


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site without the tables of parameters, which import every plug-in (`test_parameters` has these)."""
    environment = os.environ | {"HEADROUTER_DOCS_PARAMETERS": "false", "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def generator(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module that generates pages, as mkdocs loads it."""
    monkeypatch.syspath_prepend(str(PAGES))
    spec = importlib.util.spec_from_file_location(f"pages_{name}", PAGES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fetched(HTMLParser):
    """Collects the addresses that a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "source", "object"):
            self.addresses += [
                value for name, value in attributes if name in ("src", "href", "srcset", "data") if value
            ]


def test_the_site_builds_strictly_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 100
    elsewhere = []
    for page in pages:
        fetched = Fetched()
        fetched.feed(page.read_text(encoding="utf-8"))
        elsewhere += [(page.name, each) for each in fetched.addresses if re.match(r"(https?:)?//", each)]
    assert not elsewhere
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet
    editing = (tmp_path / "reference" / "editing.html").read_text(encoding="utf-8")
    assert "result.save" not in editing or "Editor" in editing
    assert 'id="headrouter.editing.editor.Editor.edit"' in editing
    assert 'id="headrouter-edit"' in (tmp_path / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "constraints.txt" in (tmp_path / "contributing.html").read_text(encoding="utf-8")
    assert (tmp_path / "reports" / "shapes-ablation" / "index.html").is_file()


def test_a_broken_link_a_broken_anchor_and_a_forgotten_page_fail_the_build(tmp_path: Path) -> None:
    """With mutants of one page; pages alone, without search and reference, so that it is quick."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "masks.md").write_text(
        "# Masks\n\n[good](words.md#marked-words) [gone](wrods.md) [old](words.md#no-such-heading) [file](../gone.txt)\n"
    )
    (docs / "words.md").write_text("# Words\n\n## Marked words\n\n[a file](../constraints.txt)\n")
    (docs / "forgotten.md").write_text("# Forgotten\n")
    settings = yaml.safe_load(re.sub(r"!ENV \[.*\]", "false", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    (tmp_path / "links.py").write_text(
        f"import sys\nsys.path.insert(0, {str(PAGES)!r})\nfrom repository_links import rewritten\n\n\n"
        "def on_page_markdown(markdown, page, config, files):\n"
        "    return rewritten(markdown, page.file.src_uri, None)\n"
    )
    settings |= {"plugins": [], "hooks": ["links.py"], "extra_css": [], "theme": {"name": "mkdocs"}}
    settings["nav"] = [{"Start": "masks.md"}, {"Words": "words.md"}]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    for mutant in ("wrods.md", "no-such-heading", "gone.txt", "forgotten.md"):
        assert mutant in done.stdout + done.stderr
    assert "marked-words" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "markdown", "repository", "expected"),
    [
        ("howto/a.md", "[x](../masks.md#grids)", None, "[x](../masks.md#grids)"),
        ("a.md", "[start](../README.md)", None, "[start](index.md)"),
        ("howto/a.md", "[start](../../CONTRIBUTING.md)", None, "[start](../contributing.md)"),
        (
            "index.md",
            "![p](docs/images/demo.png) [d](docs/decisions/)",
            None,
            "![p](images/demo.png) [d](decisions/index.md)",
        ),
        ("index.md", "[n](docs/notebooks/tour.ipynb)", None, "[n](notebooks/tour.md)"),
        ("notebooks/tour.md", "[n](tour.ipynb)", None, "[n](tour.ipynb)"),
        ("a.md", "[the pins](../constraints.txt)", None, "`the pins`"),
        ("a.md", "[`pins`](../constraints.txt)", None, "`pins`"),
        (
            "a.md",
            "[pins](../constraints.txt)",
            "https://host/o/r/",
            "[pins](https://host/o/r/blob/main/constraints.txt)",
        ),
        (
            "a.md",
            "[p](https://arxiv.org/abs/1) [h](#here) [brackets]",
            None,
            "[p](https://arxiv.org/abs/1) [h](#here) [brackets]",
        ),
        ("a.md", "```\n[x](../constraints.txt)\n```\n", None, "```\n[x](../constraints.txt)\n```\n"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    page: str, markdown: str, repository: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert generator("repository_links", monkeypatch).rewritten(markdown, page, repository) == expected


def test_a_public_name_without_docstring_or_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = generator("public_names", monkeypatch)
    assert not list(names.missing())
    shutil.copytree(
        ROOT / "headrouter", tmp_path / "headrouter", ignore=lambda _, files: [f for f in files if f == "page"]
    )
    for room in ("adapters", "plugins", "inversions"):
        (tmp_path / room).symlink_to(ROOT / room)
    editor = tmp_path / "headrouter" / "editing" / "editor.py"
    tree = ast.parse(editor.read_text(encoding="utf-8"))
    edit = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "edit")
    edit.body = edit.body[1:]
    editor.write_text(ast.unparse(tree), encoding="utf-8")
    package = tmp_path / "headrouter" / "__init__.py"
    package.write_text(package.read_text(encoding="utf-8").replace('"replay"]', '"replay", "sing"]'), encoding="utf-8")
    monkeypatch.setattr(names, "ROOT", tmp_path)
    found = list(names.missing())
    assert len(found) == 2 and "`headrouter.sing`" in found[0] and "`Editor.edit`" in found[1]


def test_parameters_are_written_from_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrouter.plugins import registry
    from headrouter.plugins.schema import component_schema

    entry = next(each for each in registry().entries("inversion") if each.item.name == "rf")
    part = component_schema(entry, prefix="#/$defs/inversion.headrouter:rf/$defs/")
    written = "\n".join(
        generator("part_parameters", monkeypatch).sections({"$defs": {"inversion.headrouter:rf": part}})
    )
    assert "### inversion: rf" in written
    assert "| `eta` | number ≥ 0, ≤ 1 | `0.9` |" in written
    assert "| `steps` | whole number ≥ 1, ≤ 10000 or none | `none` |" in written
    assert "| `hold_source` | true or false | `false` |" in written
    assert all(f"| `{field}` |" in written for field in part["properties"] if field != "name")


def test_the_architecture_is_drawn_from_the_import_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = generator("architecture", monkeypatch)
    assert architecture.rooms()[0] == "cli" and architecture.rooms()[-1] == "compat"
    drawn = architecture.DRAWING.read_text(encoding="utf-8")
    assert drawn == architecture.drawing(), "run python docs/_pages/architecture.py"
