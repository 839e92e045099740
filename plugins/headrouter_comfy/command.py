"""Make the nodes appear in ComfyUI: write a folder into its custom_nodes, which leads to this package.

This package must be installed in the Python environment that ComfyUI runs in.
"""

import argparse
from typing import Final

from headrouter.errors import InvalidInputError
from headrouter.files import path_of

_FOLDER: Final = "headrouter"
_TEXT: Final = "from headrouter_comfy import comfy_entrypoint  # written by `headrouter comfyui`\n"


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("comfyui", help="make the nodes appear in ComfyUI", description=__doc__)
    parser.add_argument("folder", metavar="COMFYUI", help="folder of ComfyUI, which holds custom_nodes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder."""
    nodes = path_of(arguments.folder, "COMFYUI") / "custom_nodes"
    if not nodes.is_dir():
        raise InvalidInputError(
            f"`COMFYUI` must be the folder of ComfyUI, which holds `custom_nodes` (got {arguments.folder!r})."
        )
    file = nodes / _FOLDER / "__init__.py"
    if file.parent.exists() and (not file.is_file() or file.read_text(encoding="utf-8") != _TEXT):
        raise InvalidInputError(
            f"`COMFYUI`: '{file.parent}' is there already, and was not written by this command. Move it."
        )
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(_TEXT, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"`COMFYUI`: '{file}' cannot be written: {error.strerror or error}.") from error
    print(f"{file}\nStart ComfyUI again; the nodes are under '{_FOLDER}'.")
    return 0
