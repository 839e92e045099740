"""Identify the code that computes a result: versions of the packages that take part, and a hash of their source."""

import functools
import hashlib
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, final

from headrouter.config.configuration import Parameters
from headrouter.plugins import registry
from headrouter.plugins.names import BUILT_IN
from headrouter.version import __version__

LIBRARIES: Final = ("torch", "diffusers", "transformers")
_SHARED: Final = frozenset({"headrouter", "headrouter_diffusers"})
"""Packages of headrouter that compute every result and are no plug-in."""
_FOLDER: Final = Path(__file__).parents[1]


@final
class Code(Parameters):
    """Identifies one project by its version, empty if it has none, and the hash of its source, empty for libraries."""

    version: str
    source: str = ""


def code_of(parts: Iterable[object]) -> dict[str, Code]:
    """Say which code runs ``parts``: versions of libraries, version and source of every project that takes part.

    Of a project, headrouter or that of a plug-in, all packages count that have plug-ins: they may use each other.
    """
    return dict(_code(frozenset(type(part).__module__.partition(".")[0] for part in parts)))


@functools.cache
def _code(packages: frozenset[str]) -> dict[str, Code]:
    projects: dict[str, set[str]] = {BUILT_IN: set(_SHARED)}
    for row in registry().statuses:
        projects.setdefault(row.distribution, set()).add(row.module.partition(".")[0])
    taking_part = {name: owned for name, owned in projects.items() if name == BUILT_IN or owned & packages}
    taking_part |= {package: {package} for package in packages.difference(*taking_part.values())}
    sources = {
        name: Code(version=_version(name), source=_source(frozenset(owned))) for name, owned in taking_part.items()
    }
    return {name: Code(version=_version(name)) for name in LIBRARIES} | sources


def _version(project: str) -> str:
    if project == BUILT_IN:
        return __version__
    try:
        return version(project)
    except PackageNotFoundError:  # a plug-in that a program registered by itself
        return ""


@functools.cache
def _source(packages: frozenset[str]) -> str:
    """Return the SHA-256 of all Python files of packages when first asked for; 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for package in sorted(packages):
        for file, name in _files(package):
            with suppress(OSError):  # a file that is going away, or a link of an editor that leads nowhere
                content = file.read_bytes()
                digest.update(f"{package}/{name}\n".encode() + content)
    return digest.hexdigest()[:12]


def _files(package: str) -> list[tuple[Path, str]]:
    """List the Python files of a package or single module, with their names within it; none of built-in ones."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # of ``__main__``, and of modules that were never imported from a file
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [(Path(spec.origin), "")] if spec.origin and Path(spec.origin).is_file() else []
    return [
        (file, file.relative_to(folder).as_posix())
        for folder in map(Path, spec.submodule_search_locations)
        for file in sorted(folder.rglob("*.py"))
    ]


@functools.cache
def commit() -> str:
    """Return the commit of the checkout that headrouter runs from, with ``-dirty`` if files differ; empty without a checkout."""

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(_FOLDER), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # and not that of another project that it is installed within
        return git("describe", "--always", "--dirty", "--exclude=*", "--abbrev=12")
    except (OSError, subprocess.SubprocessError):
        return ""
