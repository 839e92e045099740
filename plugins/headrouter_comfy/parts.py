"""Make one node for each registered inversion, velocity operator, method and mask, from its pydantic model."""

import functools
from collections.abc import Iterator
from typing import Any, Final

from headrouter.config.configuration import validate
from headrouter.config.controls import Control, controls_of
from headrouter.errors import PluginError
from headrouter.plugins import registry
from headrouter.plugins.names import BUILT_IN, Entry
from headrouter.plugins.specifications import ComponentSpec, Kind
from headrouter_comfy.node import CATEGORY, INVERSION, MASK, METHODS, OPERATORS, Node, node_of
from headrouter_comfy.widgets import inputs_of, values_of

BEFORE: Final = "before"
"""Input of a part that others may come before."""
_WIRES: Final[dict[Kind, str]] = {"inversion": INVERSION, "operator": OPERATORS, "method": METHODS, "mask": MASK}
_CHAINED: Final = ("operator", "method")


def part_nodes(io: Any) -> Iterator[Node]:
    """Yield a node for each part that is installed; one whose class cannot be imported is left out."""
    for kind in _WIRES:
        for entry in registry().entries(kind):
            if is_usable(kind, entry):
                yield _node(io, kind, entry)


def is_usable(kind: Kind, entry: Entry) -> bool:
    """Return whether a part's class can be imported; `headrouter plugins` says why not."""
    try:
        controls_by_name(kind, name_of_entry(entry))
    except PluginError:
        return False
    return True


def name_of_entry(entry: Entry) -> str:
    """Return the name by which a part is found, whatever else is installed."""
    return entry.item.name if entry.distribution == BUILT_IN else entry.qualified_name


@functools.cache
def controls_by_name(kind: Kind, name: str) -> tuple[Control, ...]:
    """Return the controls of a part's parameters."""
    return controls_of(class_of(kind, name))


def class_of(kind: Kind, name: str) -> Any:
    """Return the class of a part's parameters."""
    spec = registry().entry(kind, name).item
    assert isinstance(spec, ComponentSpec)
    return spec.load()


def _node(io: Any, kind: Kind, entry: Entry) -> Node:
    name, wire = name_of_entry(entry), io.Custom(_WIRES[kind])
    summary = getattr(entry.item, "summary", "")

    def schema() -> Any:
        chained = [wire.Input(BEFORE, optional=True, tooltip=f"Any {kind}s that come before this one.")]
        return io.Schema(
            node_id=f"{CATEGORY}.{kind}.{name}",
            display_name=f"{name} ({kind})",
            category=f"{CATEGORY}/{kind}s",
            description=summary,
            inputs=[*(chained if kind in _CHAINED else []), *inputs_of(io, controls_by_name(kind, name))],
            outputs=[wire.Output(id=f"{kind}_out", display_name=kind)],
        )

    def run(**received: Any) -> tuple[Any]:
        before = received.pop(BEFORE, None) or ()
        part = validate(class_of(kind, name), values_of(controls_by_name(kind, name), received), prefix=f"{kind}.")
        return ((*before, part) if kind in _CHAINED else part,)

    return node_of(io, schema, run)
