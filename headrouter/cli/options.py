"""Define the options that several subcommands share."""

import argparse
import re
from typing import Any

from headrouter.errors import InvalidInputError


def add_machine(parser: argparse.ArgumentParser, *, progress: bool = True) -> "argparse._ArgumentGroup":
    """Describe where and how the model is loaded, and, of a command that shows ``progress``, how to hide it."""
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps")
    machine.add_argument("--dtype", help="auto, float32, bfloat16, float16")
    machine.add_argument("--offload", help="none, model or group: saves accelerator memory")
    machine.add_argument(
        "--max-sequence-length", type=int, metavar="N", help="largest number of text tokens of a prompt"
    )
    machine.add_argument("--variant", metavar="NAME", help="variant of the weights, such as fp16")
    machine.add_argument(
        "--quantize",
        action="append",
        metavar="FORMAT",
        help="nf4, int8, int8-torchao or fp8: smaller weights; COMPONENT=FORMAT for one, repeated for several",
    )
    machine.add_argument(
        "--base", metavar="MODEL", help="pipeline that completes a single file: a hub id, folder or short name"
    )
    if progress:
        machine.add_argument("--no-progress", action="store_true", help="no progress bars")
    return machine


def add_run(parser: argparse.ArgumentParser, what: str, example: str) -> None:
    """Describe the file of a run over a data set, the run's folder, the edits to take and the workers."""
    parser.add_argument("file", metavar="FILE", help=f"{what}, a YAML file")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help=f"run folder, new or continued (default: runs/NAME, of the {what})"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N edits of the data set alone")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help=f"value of anything in the file, such as dataset.count=8, seeds=[0,1] or {example}",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of workers, each with its own model (default: one for each GPU)",
    )
    parser.add_argument(
        "--batch", type=int, default=8, metavar="N", help="number of edits in one model call (default: 8)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--no-progress", action="store_true", help="no progress bars")


def machine_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of loading as keywords of :class:`~headrouter.editing.editor.Editor`."""
    names = ("device", "dtype", "offload", "max_sequence_length", "variant", "base")
    return {**{name: getattr(arguments, name) for name in names}, "quantize": _quantize_of(arguments.quantize)}


def _quantize_of(texts: list[str] | None) -> str | dict[str, str] | None:
    """Read ``--quantize``: one format for all large components, or formats by component."""
    if texts is None or (len(texts) == 1 and "=" not in texts[0]):
        return None if texts is None else texts[0]
    pairs = [text.partition("=") for text in texts]
    if any(not component or not name for component, _, name in pairs) or len({one[0] for one in pairs}) < len(pairs):
        raise InvalidInputError(
            f"`--quantize` takes one FORMAT, or COMPONENT=FORMAT once for each component (got {' '.join(texts)!r})."
        )
    return {component: name for component, _, name in pairs}


def size_of(text: str) -> Any:
    """Read ``--size``: width and height, or ``auto``."""
    if text == "auto":
        return "auto"
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    if match is None:
        raise InvalidInputError(f"`--size` must look like 1024x768, or be auto (got {text!r}).")
    return int(match[1]), int(match[2])


def refuse_below_one(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse options below 1.

    Raises:
        InvalidInputError: naming the first.
    """
    for name in names:
        if getattr(arguments, name) < 1:
            raise InvalidInputError(
                f"`--{name.replace('_', '-')}` must be at least 1 (got {getattr(arguments, name)})."
            )
