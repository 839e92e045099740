"""Make node classes of ComfyUI's V3 schema, and name the types of their wires."""

from collections.abc import Callable
from typing import Any, Final

CATEGORY: Final = "headrouter"
MODEL: Final = "HEADROUTER_MODEL"
"""A loaded model, ready to edit: an :class:`~headrouter.editing.editor.Editor`."""
INVERSION: Final = "HEADROUTER_INVERSION"
OPERATORS: Final = "HEADROUTER_OPERATORS"
"""Velocity operators, in order."""
METHODS: Final = "HEADROUTER_METHODS"
"""Methods, in order."""
MASK: Final = "HEADROUTER_MASK"
"""A :class:`~headrouter.masks.mask.Mask`, which may depend on the run; ComfyUI's own MASK is one of pixels."""
EDITS: Final = "HEADROUTER_EDITS"
"""A list of :class:`~headrouter.editing.result.Result`, one for each picture."""

Node = type[Any]


def node_of(io: Any, schema: Callable[[], Any], run: Callable[..., tuple[Any, ...]]) -> Node:
    """Return a node class of a schema and a function.

    Args:
        io: ComfyUI's module ``comfy_api.latest.io``.
        schema: Makes the schema anew on each call, since ComfyUI completes the one that it gets.
        run: Takes the inputs by name and returns the outputs in their order.
    """
    members = {
        "define_schema": classmethod(lambda cls: schema()),
        "execute": classmethod(lambda cls, **inputs: io.NodeOutput(*run(**inputs))),
    }
    return type(schema().node_id.replace(".", "_").replace("-", "_"), (io.ComfyNode,), members)
