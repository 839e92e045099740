"""Declare the parts of a checkout that is on Python's path without being installed, as an installation would."""

import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

if sys.version_info >= (3, 11):
    import tomllib
else:  # where pytest brings it along
    import tomli as tomllib

ROOT: Final = Path(__file__).parents[2]


def declare() -> None:
    """Put entry points of pyproject.toml on Python's path, if headrouter is not installed."""
    try:
        distribution("headrouter")
    except PackageNotFoundError:
        sys.path.insert(0, str(written(Path(tempfile.mkdtemp(prefix="headrouter-")))))


def written(folder: Path, tree: Path = ROOT) -> Path:
    """Write the metadata of a checkout's distribution into a folder, and return the folder."""
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / "headrouter-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrouter\nVersion: 0\n", encoding="utf-8")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in parts.items())])
        for group, parts in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
    return folder
