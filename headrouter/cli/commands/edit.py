"""Edit pictures by text, or run an earlier edit again.

One picture goes into the output folder itself. Of several, of a folder or of a pattern, each goes into a folder of its own name
there; one that fails does not end the rest, and the exit code is 2 then. They are edited one after the other, unless --max-rows
has room for several: pictures of one size that follow each other then share the model's calls.
"""

import argparse
from typing import TYPE_CHECKING

from headrouter.cli.editing import edited, save, summary
from headrouter.cli.editing_each import edit_each
from headrouter.cli.options import add_machine, machine_of
from headrouter.cli.parts import editor_of
from headrouter.errors import InvalidInputError

if TYPE_CHECKING:
    from headrouter.editing.result import Result

EXAMPLES = """examples:
  headrouter edit photo.png --source "a photo of a cat" --prompt "a photo of a dog" -o out/
  headrouter edit photo.png --prompt "a watercolour" --backbone flux --preset stylization --keep 0.8
  headrouter edit photos/ --prompt "a watercolour" -o out/
  headrouter edit --from out/result.json -o again/
"""


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "edit",
        help="edit a picture by text",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "image", nargs="*", default=[], help="picture to edit, or several, a folder, or a pattern like 'photos/*.png'"
    )
    parser.add_argument("--source", default="", metavar="TEXT", help="prompt that describes the picture; may be empty")
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT", help="prompt of the edit; repeat for several edits"
    )
    parser.add_argument(
        "--negative", default="", metavar="TEXT", help="negative prompt, from which guidance steers away"
    )
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="PICTURE",
        help="further picture for the model to look at, on a model that takes several; repeat for more",
    )
    parser.add_argument("-o", "--output", default="out", metavar="FOLDER", help="folder of the pictures (default: out)")
    parser.add_argument("--from", dest="record", metavar="RESULT.JSON", help="run an earlier edit again")
    parser.add_argument(
        "--sheet", action="store_true", help="also draw sheet-N.png, which shows the edit and where it acted"
    )
    parts = parser.add_argument_group("parts")
    parts.add_argument("--backbone", default="sd3.5", metavar="NAME", help="model family (default: sd3.5)")
    parts.add_argument("--model", metavar="NAME", help="weights: a short name, a hub id, a local folder or a file")
    parts.add_argument(
        "--inversion",
        metavar="NAME",
        help="name of the inversion (default: rf, or instruct for a model of instructions)",
    )
    parts.add_argument(
        "--operator",
        action="append",
        metavar="NAME",
        help="operator that changes the velocity between model and inversion (default: none); repeat for several",
    )
    parts.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="method that steers (default: headrouter, or none with instruct); repeat for several",
    )
    knobs = parser.add_argument_group("knobs")
    knobs.add_argument(
        "--preset",
        metavar="NAME|FILE",
        help="published or measured values, listed by 'headrouter presets', or the YAML file of a preset",
    )
    knobs.add_argument("--keep", type=float, metavar="0..1", help="share of the source to keep (η)")
    knobs.add_argument("--push", type=float, metavar="0..", help="strength of the edit (γ)")
    knobs.add_argument(
        "--strength",
        metavar="auto",
        help="auto: edit at several strengths of the inversion, and keep of each edit the weakest that took",
    )
    knobs.add_argument("--steps", type=int, help="steps of the time grid")
    knobs.add_argument("--guidance", type=float, help="weight of the prompt")
    knobs.add_argument(
        "--seed",
        type=int,
        action="append",
        metavar="N",
        help="seed of all noise (default: 0); repeat for an edit of each",
    )
    knobs.add_argument("--size", default="auto", metavar="WxH", help="size to work at, or auto (default)")
    knobs.add_argument(
        "--mask",
        metavar="FILE|NAME",
        help="where the edit may act: a picture, white there; words, attention or velocity; or an expression, 'words | velocity'",
    )
    knobs.add_argument(
        "--paste", action="store_true", help="put the original pixels back outside the mask, at full size"
    )
    knobs.add_argument(
        "--feather", type=float, metavar="0..0.5", help="width of the seam of --paste, share of the shorter side"
    )
    knobs.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PART.NAME=VALUE",
        help="value of any parameter, such as method.gamma=0.3",
    )
    machine = add_machine(parser)
    machine.add_argument("--max-rows", type=int, metavar="N", help="largest number of rows in one model call")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Edit, save, and say what came out."""
    from headrouter.cli.pictures import are_several
    from headrouter.imaging.picture import load_picture, output_folder

    if arguments.record:
        _only_machine(arguments)
    elif not arguments.image or not arguments.prompt:
        raise InvalidInputError("give a picture and at least one `--prompt`, or `--from` an earlier result.json.")
    elif are_several(arguments.image):
        return edit_each(arguments)
    with output_folder(arguments.output) as folder:
        if arguments.record:
            result = _again(arguments)
        else:
            picture = load_picture(arguments.image[0])
            (result,) = edited(editor_of(arguments), [picture], arguments)
        save(result, folder, arguments)
    print(summary(result, folder))
    return 0


def _again(arguments: argparse.Namespace) -> "Result":
    from headrouter.editing.replay import replay

    return replay(arguments.record, model=arguments.model, progress=not arguments.no_progress, **machine_of(arguments))


def _only_machine(arguments: argparse.Namespace) -> None:
    """Refuse options that ``--from`` would ignore, since everything but the machine is in the record."""
    allowed = {
        "record",
        "model",
        "output",
        "sheet",
        "device",
        "dtype",
        "offload",
        "variant",
        "base",
        "no_progress",
        "run",
        "parser",
        "command",
        "debug",
    }
    ignored = [
        name
        for name, value in vars(arguments).items()
        if name not in allowed and value != arguments.parser.get_default(name)
    ]
    if ignored:
        raise InvalidInputError(
            f"`--from` runs an edit again as it was; it takes no {', '.join(name.replace('_', '-') for name in ignored)}."
        )
