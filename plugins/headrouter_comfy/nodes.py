"""List all nodes."""

from typing import Any

from headrouter_comfy.editing import edit_node
from headrouter_comfy.loading import load_node
from headrouter_comfy.node import Node
from headrouter_comfy.parts import part_nodes
from headrouter_comfy.results import result_nodes


def nodes(io: Any) -> list[Node]:
    """Return every node: load, edit, the nodes of results, and one for each part.

    Args:
        io: ComfyUI's module ``comfy_api.latest.io``.
    """
    return [load_node(io), edit_node(io), *result_nodes(io), *part_nodes(io)]
