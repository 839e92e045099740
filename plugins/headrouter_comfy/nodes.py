"""List all nodes."""

from typing import Any

from headrouter_comfy.editing import edit_node
from headrouter_comfy.loading import load_nodes
from headrouter_comfy.node import Node
from headrouter_comfy.parts import part_nodes
from headrouter_comfy.results import result_nodes
from headrouter_comfy.saving import save_node


def nodes(io: Any) -> list[Node]:
    """Return every node: edit, the nodes of its results, and one for each model family and part.

    Args:
        io: ComfyUI's module ``comfy_api.latest.io``.
    """
    return [*load_nodes(io), edit_node(io), *result_nodes(io), save_node(io), *part_nodes(io)]
