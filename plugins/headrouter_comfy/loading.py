"""Make one node for each family of models, which loads a diffusers pipeline from a folder, a hub id or a short name."""

from collections.abc import Iterator
from typing import Any, Final

from headrouter.config.configuration import validate
from headrouter.config.controls import Control, controls_of
from headrouter.editing.editor import Editor
from headrouter.plugins import registry
from headrouter.plugins.names import Entry
from headrouter.plugins.schema import usable
from headrouter.plugins.specifications import BackboneSpec
from headrouter_comfy.node import MODEL, Node, node_of
from headrouter_comfy.widgets import inputs_of, values_of

_MAX_ROWS: Final = Control(
    "max_rows",
    "integer",
    help="Most rows (the picture, and its edits) in one call of the model; more edits run one group after the other.",
    minimum=2,
    optional=True,
)


def load_nodes(io: Any) -> Iterator[Node]:
    """Yield a node for each family of models that is installed."""
    for entry, _, _ in usable("backbone"):
        yield _node(io, entry)


def _node(io: Any, entry: Entry) -> Node:
    name, spec = entry.shortest_name, entry.item
    assert isinstance(spec, BackboneSpec)
    family = spec.load()
    controls = controls_of(family)
    known = ", ".join(f"{one.name} ({one.summary.rstrip('.')})" for one in registry().models(entry.qualified_name))
    model_input = io.String.Input(
        "model",
        default=spec.default_model,
        optional=True,
        tooltip=f"Folder of a pipeline, a single file, a hub id, or a short name: {known}.",
    )

    def run(model: str = "", **received: Any) -> tuple[Editor]:
        parameters = validate(family, values_of(controls, received), prefix="backbone.")
        rows = values_of([_MAX_ROWS], received)
        return (Editor(parameters, model=model.strip() or None, method=None, progress=False, **rows),)

    return node_of(
        io,
        f"load.{name}",
        run,
        title=f"{name} (load model)",
        about=spec.summary,
        inputs=[model_input, *inputs_of(io, (*controls, _MAX_ROWS))],
        outputs=[io.Custom(MODEL).Output(id="loaded", display_name="model")],
        menu="models",
    )
