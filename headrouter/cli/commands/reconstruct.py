"""Compare how well each inversion holds a picture.

The picture is edited with its own prompt and without steering. The result is compared with it: PSNR in dB, and structural
similarity, which is 1 for the picture itself. Both include what the model's autoencoder loses.
"""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from headrouter.cli.options import add_machine, machine_of, size_of
from headrouter.cli.streams import say
from headrouter.cli.table import table, terminal_width
from headrouter.errors import IncompatibleError, PluginWarning, reason_of

if TYPE_CHECKING:
    from headrouter.editing.result import Reconstruction
    from headrouter.sampling.inversion import Inversion
    from headrouter.sampling.velocity_operator import VelocityOperator

EXAMPLES = """examples:
  headrouter reconstruct photo.png --source "a photo of a cat"
  headrouter reconstruct photo.png --inversion euler --inversion fireflow --steps 12 -o out/
"""


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "reconstruct",
        help="compare how well each inversion holds a picture",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", help="picture to reconstruct")
    parser.add_argument("--source", default="", metavar="TEXT", help="prompt that describes the picture; may be empty")
    parser.add_argument(
        "--negative", default="", metavar="TEXT", help="negative prompt, from which guidance steers away"
    )
    parser.add_argument(
        "--inversion",
        action="append",
        metavar="NAME",
        help="name of an inversion; repeat for several (default: all that suit the model's prompts)",
    )
    parser.add_argument(
        "--operator",
        action="append",
        metavar="NAME",
        help="operator that changes the velocity between model and inversion (default: none); repeat for several; one that "
        "compares an edit with its source has nothing to compare here",
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", help="also write each reconstruction there, as NAME.png")
    parts = parser.add_argument_group("parts and knobs")
    parts.add_argument("--backbone", default="sd3.5", metavar="NAME", help="model family (default: sd3.5)")
    parts.add_argument("--model", metavar="NAME", help="weights: a short name, a hub id, a local folder or a file")
    parts.add_argument("--steps", type=int, help="steps of the time grid (default: each inversion's own)")
    parts.add_argument("--guidance", type=float, help="weight of the prompt (default: the model's own)")
    parts.add_argument("--seed", type=int, default=0, help="seed of all noise (default: 0)")
    parts.add_argument("--size", default="auto", metavar="WxH", help="size to work at, or auto (default)")
    add_machine(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct by each inversion in turn, on one loaded model, and print the table."""
    from headrouter.editing.assembly import default_inversion, inversion_of
    from headrouter.imaging.picture import output_folder, save_picture

    instructed = default_inversion(arguments.backbone) == "instruct"
    inversions = {name: inversion_of(name) for name in arguments.inversion or _all(instructed)}
    rows = []
    with output_folder(arguments.output) if arguments.output else nullcontext() as folder:
        for name, found in _reconstructed(arguments, inversions):
            rows.append([name, *_numbers(found)])
            if folder is not None:
                save_picture(found.image, folder / f"{name.replace(':', '-')}.png")
    print(table(["inversion", "PSNR dB", "SSIM", "model calls", "seconds"], rows, terminal_width()))
    return 0


def _reconstructed(
    arguments: argparse.Namespace, inversions: "dict[str, Inversion]"
) -> "Iterator[tuple[str, Reconstruction]]":
    """Yield each inversion's reconstruction in turn, by one loaded model; of all inversions those that fail are left out."""
    from headrouter.editing.editor import Editor
    from headrouter.imaging.picture import load_picture

    picture, size, progress = load_picture(arguments.image), size_of(arguments.size), not arguments.no_progress
    fitting, refused = _sorted(arguments, inversions)
    (first, *_) = fitting.values()
    operators = _operators(arguments)
    loaded = Editor(
        arguments.backbone, first, None, model=arguments.model, progress=progress, **machine_of(arguments)
    ).backbone
    for name, inversion in fitting.items():
        try:
            found = Editor(loaded, inversion, None, operators=operators, progress=progress).reconstruct(
                picture,
                arguments.source,
                negative_prompt=arguments.negative,
                steps=arguments.steps,
                guidance=arguments.guidance,
                seed=arguments.seed,
                size=size,
            )
        except Exception as error:  # noqa: PERF203  (of a plug-in's class, or not for this run)
            if arguments.inversion:
                raise
            refused[name] = error
        else:
            yield name, found
    if fitting.keys() <= refused.keys():
        raise next(refused[name] for name in fitting)
    for name, reason in refused.items():
        say(f"headrouter: {name} is left out: {reason_of(reason)}")


def _operators(arguments: argparse.Namespace) -> "tuple[VelocityOperator, ...]":
    """Return the operators that are asked for; refuse those that compare, since a reconstruction is its own source."""
    from headrouter.editing.assembly import operators_of

    names = [name for name in arguments.operator or () if name != "none"]
    operators = operators_of(names)
    for name, operator in zip(names, operators, strict=True):
        if operator.needs_source:
            raise IncompatibleError(
                f"`--operator` {name!r} would have no effect: it changes an edit's velocity by how it differs from its source's, "
                "and a reconstruction is its own source. Leave it out."
            )
    return operators


def _sorted(
    arguments: argparse.Namespace, inversions: "dict[str, Inversion]"
) -> "tuple[dict[str, Inversion], dict[str, Exception]]":
    """Return inversions that the backbone can serve, and why it cannot serve others; one that was asked for is refused."""
    from headrouter.editing.assembly import name_of, refuse_misfits
    from headrouter.plugins import registry
    from headrouter.sampling.velocity_operator import refuse_misfit_operators

    operators = _operators(arguments)
    provided, fitting, refused = frozenset(registry().backbone(arguments.backbone).provides), {}, dict[str, Exception]()
    for name, inversion in inversions.items():
        try:
            refuse_misfits(provided, arguments.backbone, (inversion, *operators))
            refuse_misfit_operators(operators, inversion, name_of=name_of)
        except IncompatibleError as error:  # noqa: PERF203
            if arguments.inversion:
                raise
            refused[name] = error
        else:
            fitting[name] = inversion
    if not fitting:
        raise next(iter(refused.values()))
    return fitting, refused


def _all(instructed: bool = False) -> "Iterator[str]":
    """Yield every inversion for captions, or for instructions, whose class can be used; warn of the others."""
    from headrouter.editing.assembly import inversion_of
    from headrouter.plugins import registry

    for entry in registry().entries("inversion"):
        name = entry.shortest_name
        try:
            suits = inversion_of(name).takes_references == instructed
        except Exception as error:  # of a plug-in's class
            warnings.warn(f"{name} is left out: {reason_of(error)}", PluginWarning, stacklevel=2)
        else:
            if suits:
                yield name


def _numbers(found: "Reconstruction") -> list[str]:
    return [f"{found.psnr:.2f}", f"{found.ssim:.4f}", str(found.cost.calls), f"{found.cost.seconds:.2f}"]
