"""Offer edits as nodes of ComfyUI: models, parts with their parameters, edits, maps and head weights.

ComfyUI finds :func:`comfy_entrypoint` through a folder of its ``custom_nodes``, which ``headrouter comfyui`` writes. The modules
import ComfyUI only when it asks for the nodes, and load no model and no diffusers before a node runs.
"""

from argparse import ArgumentParser, _SubParsersAction
from typing import Any

from headrouter.plugins.specifications import hookimpl

__all__ = ["comfy_entrypoint"]

headrouter_api = 1


@hookimpl
def register_commands(subcommands: "_SubParsersAction[ArgumentParser]") -> None:
    """Register ``headrouter comfyui``."""
    from headrouter_comfy import command

    command.add(subcommands)


async def comfy_entrypoint() -> Any:
    """Return the extension with all nodes; ComfyUI calls it once, when it starts."""
    from comfy_api.latest import ComfyExtension, io

    from headrouter_comfy.nodes import nodes

    class HeadRouterExtension(ComfyExtension):  # type: ignore[misc]  # ComfyUI is not there when types are checked
        """Holds the nodes of headrouter."""

        async def get_node_list(self) -> list[type]:
            """Return one class for each node."""
            return nodes(io)

    return HeadRouterExtension()
