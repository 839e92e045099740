"""Make the node that saves edits with their records into ComfyUI's output folder, from where they can be run again."""

from itertools import count
from pathlib import Path
from typing import Any

from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter_comfy.node import CATEGORY, EDITS, Node, node_of


def save_node(io: Any) -> Node:
    """Return the node that saves edits."""

    def run(edits: list[Result], name: str = CATEGORY) -> tuple[str]:
        from folder_paths import get_output_directory

        folder = new_folder(Path(get_output_directory()), name)
        for number, result in enumerate(edits):
            result.save(folder if len(edits) == 1 else folder / f"picture-{number}")
        return (str(folder),)

    name = io.String.Input(
        "name",
        default=CATEGORY,
        optional=True,
        tooltip="Folder within ComfyUI's output folder; a number is added, so that nothing is replaced.",
    )
    return node_of(
        io,
        "save",
        run,
        title="Save edits (headrouter)",
        about="Saves pictures, masks and result.json, from which `headrouter edit --from` runs the edit again.",
        inputs=[io.Custom(EDITS).Input("edits"), name],
        outputs=[io.String.Output(id="folder", display_name="folder")],
        is_output_node=True,
    )


def new_folder(output: Path, name: str) -> Path:
    """Make a folder of this name and the next free number.

    Raises:
        InvalidInputError: the name leads out of the output folder, or the folder cannot be made.
    """
    root = output.resolve()
    wanted = (root / name.strip()).resolve()
    if root not in wanted.parents:
        raise InvalidInputError(f"`name` must be a folder within ComfyUI's output folder (got {name!r}).")
    for number in count(1):
        folder = wanted.with_name(f"{wanted.name}-{number:05}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InvalidInputError(f"`name` {name!r} cannot be made a folder: {error.strerror or error}.") from error
        return folder
    raise AssertionError("numbers do not end")
