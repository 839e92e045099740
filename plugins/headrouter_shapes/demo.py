"""Edit a drawn picture in under a minute, anywhere, and draw a sheet of head routing."""

import argparse
from typing import Final

from headrouter.errors import InvalidInputError

BACKBONES: Final = ("sd3.5", "sd3", "flux")
_SCENE: Final = {"shape": "star", "colour": "blue", "background": "mint", "variation": 7}
_EDIT: Final = {"colour": "red"}
_PRESET: Final = "drawn-colour"


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("demo", help="edit a drawn picture with a bundled model", description=__doc__)
    parser.add_argument(
        "--backbone", default="sd3.5", metavar="NAME", help=f"one of {', '.join(BACKBONES)} (default: sd3.5)"
    )
    parser.add_argument(
        "-o", "--output", default="demo", metavar="FOLDER", help="folder of the pictures (default: demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all noise (default: 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Edit, save, and say what each picture shows."""
    if arguments.backbone not in BACKBONES:
        raise InvalidInputError(f"`--backbone` must be one of {', '.join(BACKBONES)} (got {arguments.backbone!r}).")
    from headrouter.editing.editor import Editor
    from headrouter.editing.sheet import edit_sheet
    from headrouter.imaging.picture import save_picture, writable_folder
    from headrouter_shapes.world.caption import caption
    from headrouter_shapes.world.render import render
    from headrouter_shapes.world.scene import Scene

    folder = writable_folder(arguments.output)
    scene, target = Scene(**_SCENE), Scene(**{**_SCENE, **_EDIT})  # type: ignore[arg-type]
    source_prompt, prompt = caption(scene, 0), caption(target, 0)
    editor = Editor(arguments.backbone, "rf", "headrouter", model="shapes")
    result = editor.edit(render(scene), prompt, source_prompt, preset=_PRESET, seed=arguments.seed)
    result.save(folder)
    save_picture(edit_sheet(result), folder / "sheet.png")
    save_picture(render(target), folder / "truth.png")
    print(
        f"""
{folder}/source.png   the picture that was edited: {source_prompt}
{folder}/edit-0.png   the edit: {prompt}
{folder}/truth.png    the drawing that the edit should be; this world is drawn, so the right answer is known
{folder}/sheet.png    source, reconstruction, edit, where the new word acts, the weight that head routing gave to each head
                of each layer, and how far source and edit are apart in each layer at each step
{folder}/result.json  everything that was set: `headrouter edit --from {folder}/result.json` runs the same edit again

{result.cost}. The same from Python:

    from headrouter import Editor

    editor = Editor(backbone="{arguments.backbone}", inversion="rf", model="shapes")
    result = editor.edit("{folder}/source.png", source_prompt="{source_prompt}",
                         prompt="{prompt}", preset="{_PRESET}", seed={arguments.seed})
    result.save("out/")"""
    )
    return 0
