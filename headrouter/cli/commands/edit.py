"""Edit pictures by text, or run an earlier edit again.

One picture goes into the output folder itself. Of several, of a folder or of a pattern, each goes into a folder of its own name
there; one that fails does not end the rest, and the exit code is 2 then. They are edited one after the other, unless --max-rows
has room for several: pictures of one size that follow each other then share the model's calls.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from headrouter.cli.options import add_machine, machine_of, size_of
from headrouter.cli.parts import editor_of
from headrouter.cli.streams import say
from headrouter.errors import HeadRouterError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL import Image
    from tqdm import tqdm

    from headrouter.cli.pictures import Photo
    from headrouter.editing.editor import Editor
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
        return _edit_each(arguments)
    with output_folder(arguments.output) as folder:
        if arguments.record:
            result = _again(arguments)
        else:
            picture = load_picture(arguments.image[0])
            (result,) = _edit(editor_of(arguments), [picture], arguments)
        _save(result, folder, arguments)
    print(_summary(result, folder))
    return 0


def _edit_each(arguments: argparse.Namespace) -> int:
    """Edit each picture by one loaded model; report what fails with one, end at what fails with all."""
    from tqdm import tqdm

    from headrouter.cli.pictures import pictures_of, read_in_groups
    from headrouter.imaging.picture import output_folder

    pictures, editor, failures = pictures_of(arguments.image), None, list[str]()
    with output_folder(arguments.output) as folder, _bar(len(pictures), arguments) as bar:

        def unread(error: HeadRouterError) -> None:
            bar.update()
            _note(failures, str(error))

        for group in read_in_groups(pictures, _together(arguments), unread):
            editor = editor or editor_of(arguments)  # what is wrong here is wrong for all
            for photo, outcome in zip(group, _outcomes(editor, group, arguments), strict=True):
                bar.update()
                try:
                    if isinstance(outcome, HeadRouterError):
                        raise outcome
                    _save(outcome, folder / photo.name, arguments)
                except HeadRouterError as error:
                    _refuse_all(error, failures)
                    _note(failures, f"'{photo.path}': {error}")
                else:
                    tqdm.write(_summary(outcome, folder / photo.name), file=sys.stdout)
        if len(failures) == len(pictures):
            raise InvalidInputError(f"none of {len(pictures)} pictures could be edited; see the errors above.")
    if failures:
        say(f"headrouter: {len(failures)} of {len(pictures)} pictures could not be edited.")
    return 2 if failures else 0


def _bar(count: int, arguments: argparse.Namespace) -> "tqdm[Any]":
    from tqdm import tqdm

    return tqdm(total=count, desc="pictures", unit="picture", disable=arguments.no_progress or None)


def _together(arguments: argparse.Namespace) -> int:
    """Return how many pictures fit into ``--max-rows`` with their edits; one if it is not given."""
    return max(1, (arguments.max_rows or 0) // (1 + len(arguments.prompt)))


def _outcomes(
    editor: "Editor", group: "Sequence[Photo]", arguments: argparse.Namespace
) -> "Iterator[Result | HeadRouterError]":
    """Yield what comes of each picture: edited together, or each alone if that fails."""
    try:
        yield from _edit(editor, [photo.picture for photo in group], arguments)
    except HeadRouterError as error:
        if len(group) == 1:
            yield error
        else:
            for photo in group:
                yield from _outcomes(editor, [photo], arguments)


def _note(failures: list[str], message: str) -> None:
    from tqdm import tqdm

    failures.append(message)
    with tqdm.external_write_mode(file=sys.stderr):
        say(f"headrouter: {message}")


def _refuse_all(error: HeadRouterError, failures: list[str]) -> None:
    """Raise an error that two pictures in turn failed with, word for word, and that is not about the picture."""
    message = str(error)
    if "`image`" not in message and failures and failures[-1].endswith(f": {message}"):
        raise error


def _save(result: "Result", folder: "Path", arguments: argparse.Namespace) -> None:
    result.save(folder)
    if arguments.sheet:
        _draw_sheets(result, folder)


def _summary(result: "Result", folder: "Path") -> str:
    """Return a line for each edit and one for the record."""
    lines = []
    for number, (prompt, seed) in enumerate(zip(result.prompts, result.seeds, strict=True)):
        remark = f"  (seed {seed})" if len(set(result.seeds)) > 1 else ""
        if result.strengths:
            remark += f"  ({result.strengths[number]})"
        lines.append(f"{folder / f'edit-{number}.png'}  {prompt.text}{remark}")
    return "\n".join([*lines, f"{folder / 'result.json'}  {result.cost}"])


def _draw_sheets(result: "Result", folder: "Path") -> None:
    from headrouter.editing.sheet import edit_sheet
    from headrouter.imaging.picture import save_picture

    for number in range(len(result.images)):
        save_picture(edit_sheet(result, number), folder / f"sheet-{number}.png")


def _edit(editor: "Editor", pictures: "Sequence[Image.Image]", arguments: argparse.Namespace) -> "list[Result]":
    return editor.edit_together(
        pictures,
        arguments.prompt,
        arguments.source,
        negative_prompt=arguments.negative,
        preset=arguments.preset,
        keep=arguments.keep,
        push=arguments.push,
        strength=arguments.strength,
        steps=arguments.steps,
        guidance=arguments.guidance,
        seed=arguments.seed or 0,
        size=size_of(arguments.size),
        references=arguments.reference,
        mask=arguments.mask,
        paste=arguments.paste,
        feather=arguments.feather,
    )


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
