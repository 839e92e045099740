"""Write the help of every command, from its parser."""

import argparse
import os
from collections.abc import Iterator
from unittest.mock import patch

WIDTH = 100


def page() -> str:
    """Return the Markdown of the page: a section for each command, with the commands of plug-ins."""
    from headrouter.cli import build_parser

    with patch.dict(os.environ, {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}):
        sections = [
            f"{'#' * level} {parser.prog}\n\n```text\n{parser.format_help()}```\n"
            for level, parser in _parsers(build_parser(), 2)
        ]
    return "# Commands\n\nWhat `--help` prints of each.\n\n" + "\n".join(sections)


def _parsers(parser: argparse.ArgumentParser, level: int) -> Iterator[tuple[int, argparse.ArgumentParser]]:
    yield level, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from _parsers(each, min(level + 1, 4))
