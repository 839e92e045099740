"""Make one node for each registered inversion, velocity operator, method and mask, from its pydantic model."""

from collections.abc import Iterator
from typing import Any, Final

from headrouter.config.configuration import validate
from headrouter.config.controls import controls_of
from headrouter.plugins.names import Entry
from headrouter.plugins.schema import usable
from headrouter.plugins.specifications import ComponentSpec, Kind
from headrouter_comfy.node import INVERSION, MASK, METHODS, OPERATORS, Node, node_of
from headrouter_comfy.widgets import inputs_of, values_of

BEFORE: Final = "before"
"""Input of a part that others may come before."""
_WIRES: Final[dict[Kind, str]] = {"inversion": INVERSION, "operator": OPERATORS, "method": METHODS, "mask": MASK}
_CHAINED: Final = ("operator", "method")


def part_nodes(io: Any) -> Iterator[Node]:
    """Yield a node for each part that is installed; one whose class cannot be used is left out, with a warning."""
    for kind in _WIRES:
        for entry, _, _ in usable(kind):
            yield _node(io, kind, entry)


def _node(io: Any, kind: Kind, entry: Entry) -> Node:
    name, spec, wire = entry.shortest_name, entry.item, io.Custom(_WIRES[kind])
    assert isinstance(spec, ComponentSpec)
    parameters = spec.load()
    controls = controls_of(parameters)
    chained = [wire.Input(BEFORE, optional=True, tooltip=f"Any {kind}s that come before this one.")]

    def run(**received: Any) -> tuple[Any]:
        before = received.pop(BEFORE, None) or ()
        part = validate(parameters, values_of(controls, received), prefix=f"{kind}.")
        return ((*before, part) if kind in _CHAINED else part,)

    return node_of(
        io,
        f"{kind}.{name}",
        run,
        title=f"{name} ({kind})",
        about=spec.summary,
        inputs=[*(chained if kind in _CHAINED else []), *inputs_of(io, controls)],
        outputs=[wire.Output(id=f"{kind}_out", display_name=kind)],
        menu=f"{kind}s",
    )
