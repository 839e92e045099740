"""Make the nodes appear in ComfyUI: write a folder into its custom_nodes, which leads to this package.

This package must be installed in the Python environment that ComfyUI runs in.
"""

import argparse
from typing import Final

from headrouter.errors import InvalidInputError
from headrouter.files import LARGEST_TEXT, path_of, read_file, write_whole

_FOLDER: Final = "headrouter"
_TEXT: Final = "from headrouter_comfy import comfy_entrypoint  # written by `headrouter comfyui`\n"


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("comfyui", help="make the nodes appear in ComfyUI", description=__doc__)
    parser.add_argument("folder", metavar="COMFYUI", help="folder of ComfyUI, which holds custom_nodes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder."""
    from headrouter.imaging.picture import writable_folder

    nodes = path_of(arguments.folder, "COMFYUI") / "custom_nodes"
    if not nodes.is_dir():
        raise InvalidInputError(
            f"`COMFYUI` must be the folder of ComfyUI, which holds `custom_nodes` (got {arguments.folder!r})."
        )
    file = nodes / _FOLDER / "__init__.py"
    if file.parent.exists() and (not file.is_file() or read_file(file, "COMFYUI", LARGEST_TEXT) != _TEXT.encode()):
        raise InvalidInputError(
            f"`COMFYUI`: '{file.parent}' is there already, and was not written by this command. Move it."
        )
    write_whole(writable_folder(file.parent) / file.name, _TEXT.encode())
    print(f"{file}\nStart ComfyUI again; the nodes are under '{_FOLDER}'.")
    return 0
