"""Run the command line, a thin shell over the library, with a module of ``commands`` for each subcommand."""

import argparse
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from headrouter.cli.commands import COMMANDS
from headrouter.cli.streams import discard, is_unwritable, open_closed, say
from headrouter.errors import (
    HeadRouterError,
    InvalidInputError,
    PictureWarning,
    PluginError,
    PluginWarning,
    PromptWarning,
    RecordWarning,
    SourceWarning,
    printable,
)
from headrouter.version import __version__

USER_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
LARGEST_CODE = 255


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 2 for anything the user can put right, said in a sentence on stderr; 130 when interrupted; 141
        when the reader of the output went away. ``--debug`` adds the traceback.
    """
    open_closed()
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # their remarks while loading tell a user nothing
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    for library in ("torchao", "bitsandbytes", "torch.utils._pytree"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may not be text
    with warnings.catch_warnings():
        for category in (PictureWarning, PluginWarning, PromptWarning, RecordWarning):
            warnings.simplefilter("always", category)
        warnings.simplefilter("default", SourceWarning)  # once, not for each picture
        warnings.showwarning = _show_warning
        try:
            code = _run_to_exit(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            discard()
            return BROKEN_PIPE
        except OSError as error:
            if not is_unwritable(error):
                raise
            discard()
            say(f"headrouter: the output cannot be written: {error.strerror}.")
            return USER_ERROR


def build_parser() -> argparse.ArgumentParser:
    """Build the parser, with headrouter's own subcommands and those of the plug-ins."""
    from headrouter.plugins import registry

    parser: argparse.ArgumentParser = _Parser(
        prog="headrouter", description="Text-guided editing of real images on multimodal diffusion transformers."
    )
    parser.add_argument("--version", action="version", version=f"headrouter {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add(subcommands)
    registry().add_commands(subcommands)
    for each in (parser, *subcommands.choices.values()):
        # a plug-in's command may have a --debug of its own, or options that begin with something else
        with suppress(argparse.ArgumentError, ValueError):
            each.add_argument(
                "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors"
            )
    return parser


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments like every other error."""

    def error(self, message: str) -> NoReturn:
        super().error(str(InvalidInputError(message)))


def _run_to_exit(argv: Sequence[str]) -> int:
    try:
        return _run(argv)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            say(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _run(argv: Sequence[str]) -> int:
    debug = "--debug" in argv
    try:
        parser = build_parser()
        arguments = parser.parse_args(argv)
        if "run" not in arguments:
            parser.print_help(sys.stderr)
            return USER_ERROR
        code = arguments.run(arguments)
        if code is not None and not (isinstance(code, int) and 0 <= code <= LARGEST_CODE):
            raise PluginError(f"the command {arguments.command!r} must return an exit code, 0 to 255 (got {code!r}).")
        return int(code or 0)
    except HeadRouterError as error:
        if debug:
            traceback.print_exc()
        else:
            say(f"headrouter: {error}")
        return USER_ERROR


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line, without its place in the code."""
    del category, filename, lineno, file, line
    say(f"warning: {' '.join(printable(str(message)).split())}")
