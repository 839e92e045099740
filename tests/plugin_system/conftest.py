"""Fake distributions: a module and a .dist-info folder in a folder on the path."""

import sys
from importlib.metadata import Distribution
from pathlib import Path
from textwrap import dedent

import pytest

from headrouter.plugins import Registry
from headrouter.plugins.discovery import discover, installed


class Site:
    """A folder of fake installed distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, distribution, code, *, version="1.0", requires=(), points=None):
        """Install a distribution whose one module, named after it, has this code."""
        module = distribution.replace("-", "_").replace("headrouter", "fake") + f"_{self.path.name}"
        (self.path / f"{module}.py").write_text(dedent(code))
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {requirement}" for requirement in requires]
        metadata = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}", *lines]
        (info / "METADATA").write_text("\n".join(metadata) + "\n")
        names = points if points is not None else {distribution.removeprefix("headrouter-"): module}
        (info / "entry_points.txt").write_text(
            "[headrouter]\n" + "".join(f"{name} = {value or module}\n" for name, value in names.items())
        )
        return module

    def distributions(self) -> list[Distribution]:
        """In the order in which headrouter would load them."""
        return [each for each in installed() if Path(str(each.locate_file(""))) == self.path]

    def load(self, **environ: str) -> Registry:
        """A registry of these distributions alone."""
        registry = Registry()
        discover(registry, self.distributions(), environ)
        return registry


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(path)
    yield Site(path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(path)):
            del sys.modules[name]


def backbone_plugin(*names: str, **options: object) -> str:
    """The code of a plug-in that registers backbones."""
    arguments = "".join(f", {key}={value!r}" for key, value in options.items())
    calls = "\n".join(
        f"    register(BackboneSpec({name!r}, 'headrouter.models.backbone:BackboneParameters'{arguments}))"
        for name in names
    )
    return f"""\
from headrouter.plugins.specifications import BackboneSpec, hookimpl

headrouter_api = 1

@hookimpl
def register_backbones(register):
{calls}
"""


@pytest.fixture
def plugin_code():
    return backbone_plugin
