"""Make node classes of ComfyUI's V3 schema, and name the types of their wires."""

from collections.abc import Callable, Sequence
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


def node_of(
    io: Any,
    name: str,
    run: Callable[..., tuple[Any, ...]],
    *,
    title: str,
    about: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    menu: str = "",
    **more: Any,
) -> Node:
    """Return a node class of a function.

    Args:
        io: ComfyUI's module ``comfy_api.latest.io``.
        name: Name of the node in saved graphs, behind that of the package.
        run: Takes the inputs by name and returns the outputs in their order.
        title, about: Title in the menu, and description.
        inputs, outputs: Inputs and outputs of the schema.
        menu: Menu within that of the package.
        more: Further fields of the schema.
    """

    def schema() -> Any:  # a new one for each call, since ComfyUI completes the one that it gets
        return io.Schema(
            node_id=f"{CATEGORY}.{name}",
            display_name=title,
            category=f"{CATEGORY}/{menu}".rstrip("/"),
            description=about,
            inputs=list(inputs),
            outputs=list(outputs),
            **more,
        )

    members = {
        "define_schema": classmethod(lambda cls: schema()),
        "execute": classmethod(lambda cls, **received: io.NodeOutput(*run(**received))),
    }
    return type(f"{CATEGORY}_{name}".replace(".", "_").replace("-", "_"), (io.ComfyNode,), members)
