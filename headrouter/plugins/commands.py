"""Take subcommands from a plug-in without letting it change those of others."""

import argparse
import re
from collections.abc import Callable
from typing import Final

from headrouter.errors import PluginError, reason_of

Subcommands = argparse._SubParsersAction
_NAME: Final = re.compile(r"[^\W_][\w.-]*")


def adopt(subcommands: "Subcommands[argparse.ArgumentParser]", add: Callable[..., object]) -> None:
    """Let ``add`` fill subcommands of its own, check them, and move them over to ``subcommands``.

    Raises:
        PluginError: a name in use, a command without ``run``, an answer; whatever ``add`` or formatting its help raises. Nothing
            is added then.
    """
    scratch = argparse.ArgumentParser(prog=subcommands._prog_prefix, add_help=False)
    own = scratch.add_subparsers(metavar="COMMAND", parser_class=subcommands._parser_class)
    answer = add(subcommands=own)
    if answer is not None:
        raise PluginError(f"register_commands must call `add_parser` and return nothing (got {answer!r})")
    for name, parser in own.choices.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(parser, argparse.ArgumentParser):
            raise PluginError(f"a command must be added by `subcommands.add_parser` with a name (got {name!r})")
        if name in subcommands.choices:
            raise PluginError(f"the command '{name}' exists already")
        _refuse_broken(name, parser)
    try:
        scratch.format_help()
    except Exception as error:
        raise PluginError(f"its line in the help cannot be shown, {reason_of(error)}; write '%%' for '%'") from error
    subcommands.choices.update(own.choices)
    subcommands._choices_actions += own._choices_actions


def _refuse_broken(name: str, parser: argparse.ArgumentParser, inherits: bool = False) -> None:
    """Refuse a command, or one below it, that could not run or not show its help."""
    run, nested = parser.get_default("run"), _nested(parser)
    leads_on = nested is not None and nested.required
    if not callable(run) and (run is not None or not (inherits or leads_on)):
        raise PluginError(f"the command '{name}' has no function to run; give it `set_defaults(run=function)`")
    if any(action.dest == "run" for action in parser._actions):
        raise PluginError(f"an argument of the command '{name}' hides its function; give it another `dest` than 'run'")
    try:
        parser.format_help()
    except Exception as error:
        raise PluginError(f"the help of the command '{name}' cannot be shown, {reason_of(error)}") from error
    for below, each in nested.choices.items() if nested is not None else ():
        _refuse_broken(f"{name} {below}", each, inherits or callable(run))


def _nested(parser: argparse.ArgumentParser) -> "Subcommands[argparse.ArgumentParser] | None":
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
