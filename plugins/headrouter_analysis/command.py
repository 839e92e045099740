"""Implement ``headrouter analyze``: figures and tables of joint attention."""

import argparse
from typing import TYPE_CHECKING, Any

from headrouter.cli.options import add_machine, machine_of, size_of
from headrouter.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrouter.methods.method import Method
    from headrouter_analysis.runs import Runs

DESCRIPTION = """Look into joint attention: where words act, which blocks know it, which heads carry what.

  maps     where in a picture each word acts, and how strongly the text holds the image in each block
  blocks   which blocks' maps find the object of a word, against masks
  heads    how far every attention head moves when a semantic of the prompt changes
  drop     what a picture loses without the heads that moved most (drawn world only)
  routing  whether weights from a measured profile edit better than those from the edit at hand (drawn world only)

Each writes pictures and tables into a folder; `headrouter analyze maps --help` explains one.
With --model shapes everything runs on the bundled model, in minutes, without a GPU.
"""


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command and its analyses."""
    from headrouter_analysis import commands

    parser = subcommands.add_parser(
        "analyze",
        help="analyse attention: maps of words, blocks, heads",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyses = parser.add_subparsers(title="analyses", metavar="ANALYSIS", dest="analysis", required=True)
    for analysis in commands.ANALYSES:
        analysis.add(analyses)


def add_analysis(
    analyses: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, text: str, *, batch: int
) -> argparse.ArgumentParser:
    """Return a parser with the options that all analyses share."""
    parser = analyses.add_parser(
        name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o", "--output", default=f"{name}-out", metavar="FOLDER", help=f"folder of the results (default: {name}-out)"
    )
    model = parser.add_argument_group("model and run")
    model.add_argument("--backbone", default="sd3.5", metavar="NAME", help="model family (default: sd3.5)")
    model.add_argument(
        "--model", metavar="NAME", help="weights: a short name (shapes is bundled), a hub id or a folder"
    )
    model.add_argument("--steps", type=int, metavar="N", help="steps of the time grid (default: the model's)")
    model.add_argument("--guidance", type=float, metavar="G", help="weight of the prompt (default: the model's)")
    model.add_argument("--size", default="auto", metavar="WxH", help="size to work at, or auto (default)")
    model.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    model.add_argument(
        "--batch", type=int, default=batch, metavar="N", help=f"pictures or pairs in one model call (default: {batch})"
    )
    add_machine(parser)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors")
    return parser


def add_semantics(parser: "argparse._ActionsContainer") -> None:
    """Add the option that names semantics, the same for every analysis."""
    parser.add_argument(
        "--semantic",
        action="append",
        default=[],
        metavar="NAME",
        help="semantic to use; repeat for more (default: all)",
    )


def load(arguments: argparse.Namespace, methods: "Sequence[Method]") -> "Runs":
    """Load the model and the settings of its runs; refuse an unfit model before loading, where possible."""
    from headrouter.editing.assembly import backbone_of
    from headrouter_analysis.runs import Runs

    if arguments.seed < 0:
        raise InvalidInputError(f"`--seed` must not be negative (got {arguments.seed}).")
    size = size_of(arguments.size)
    values = {name: value for name, value in machine_of(arguments).items() if value is not None}
    backbone, _ = backbone_of(arguments.backbone, methods, model=arguments.model, pipeline=None, values=values)
    return Runs(backbone, arguments.steps, arguments.guidance, None if size == "auto" else size)


def record(arguments: argparse.Namespace, runs: "Runs | None" = None) -> dict[str, Any]:
    """Return the head of every table: the version, the command that makes it again, the model."""
    from headrouter.version import __version__

    said = {"headrouter": __version__, "command": command_line(arguments), "model": model_of(arguments)}
    return said if runs is None else {**said, "settings": {**runs.settings, "seed": arguments.seed}}


def model_of(arguments: argparse.Namespace) -> str:
    """Return the backbone and the weights, for titles."""
    return f"{arguments.backbone}, {arguments.model or 'default weights'}"


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command with every option that is not the default, as it can be typed again."""
    import shlex

    parser = arguments.parser
    words = ["headrouter", "analyze", arguments.analysis]
    for action in parser._actions:
        value = getattr(arguments, action.dest, None)
        if action.dest in ("help", "debug") or value == parser.get_default(action.dest):
            continue
        if not action.option_strings:
            words.append(str(value))
        elif action.nargs == 0:
            words.append(action.option_strings[-1])
        elif action.nargs == "+":
            words += [action.option_strings[-1], *map(str, value or ())]
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [action.option_strings[-1], str(one)]
    return shlex.join(words)
