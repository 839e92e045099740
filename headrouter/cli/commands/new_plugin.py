"""Write a distribution that passes its own conformance test, to be changed into yours."""

import argparse
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from headrouter.errors import InvalidInputError
from headrouter.files import path_of
from headrouter.version import __version__

KINDS = ("backbone", "inversion", "operator", "method")
EXTRA = {"backbone": ("parameters", "testing"), "inversion": (), "operator": (), "method": ()}


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("new", help="write a new plug-in", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="name of the part: lower-case letters, digits, '.', '_', '-'")
    parser.add_argument("--kind", choices=KINDS, default="backbone", help="kind of the part (default: backbone)")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="folder to write to (default: headrouter-NAME)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write it and say what to do next."""
    folder = write(arguments.name, arguments.kind, Path(arguments.output or f"headrouter-{arguments.name}"))
    print(f"{folder}\nNow: pip install -e {folder} && pytest {folder}")
    return 0


def write(name: str, kind: str, folder: Path) -> Path:
    """Write a plug-in.

    Raises:
        InvalidInputError: the name cannot be used, or there is something in the folder already.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise InvalidInputError(
            f"`NAME` must be lower-case letters, digits, '.', '_', '-', first a letter or digit (got {name!r})."
        )
    folder = path_of(folder, "--output")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInputError(f"`--output` {folder} exists and is not an empty folder; nothing was written.")
    module = f"headrouter_{re.sub(r'[._-]', '_', name)}"
    words = {
        "name": name,
        "module": module,
        "kind": kind,
        "Class": "".join(part.capitalize() for part in re.split(r"[._-]", name)).lstrip("0123456789") or "My",
        "version": __version__,
    }
    pages = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}/__init__.py": f"{kind}_plugin.py",
        f"{module}/{kind}.py": f"{kind}.py",
        **{f"{module}/{extra}.py": f"{kind}_{extra}.py" for extra in EXTRA[kind]},
        "tests/test_conformance.py": f"{kind}_test.py",
    }
    texts = {page: Template(_read(template)).substitute(words) for page, template in pages.items()}
    try:
        for page, text in texts.items():
            (folder / page).parent.mkdir(parents=True, exist_ok=True)
            (folder / page).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"`--output` {folder} cannot be written to: {error.strerror or error}.") from error
    return folder


def _read(template: str) -> str:
    return (files("headrouter") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
