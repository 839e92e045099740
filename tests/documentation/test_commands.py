"""Every command of README and docs is one that the command line takes; figures of the pages are not run again here."""

import argparse
import re
import shlex
from pathlib import Path

from headrouter.cli import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDER = re.compile(r"\.\.\.|…|\b(DIR|FILE|NAME|FOLDER)\b")


def commands(page: Path) -> list[str]:
    """Return the commands of a page's blocks of code, each on one line, but for those with a placeholder."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    parts = re.split(r"^```", text, flags=re.MULTILINE)  # prose and blocks in turn
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")] + "".join(parts[1::2]).splitlines()
    found = [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?headrouter [a-z]", line)]
    return [line for line in found if not PLACEHOLDER.search(line)]


def is_understood(command: str, parser: argparse.ArgumentParser) -> bool:
    """Return whether the parser takes a command."""
    try:
        parser.parse_args(shlex.split(command, comments=True)[1:])
    except SystemExit as stop:
        return stop.code == 0
    return True


def test_commands_of_pages_are_understood() -> None:
    parser = build_parser()
    every = {(page.name, command) for page in PAGES for command in commands(page)}
    assert len(every) > 80
    assert not [command for command in sorted(every) if not is_understood(command[1], parser)]


def test_a_command_with_an_unknown_option_is_found() -> None:
    parser = build_parser()
    assert is_understood("headrouter edit a.png --prompt 'a dog' -o out/  # a comment", parser)
    assert not is_understood("headrouter edit a.png --promt 'a dog'", parser)
