"""Make one node for each family of models, which loads a diffusers pipeline from a folder, a hub id or a short name."""

from collections.abc import Iterator
from typing import Any, Final

from headrouter.config.configuration import validate
from headrouter.config.controls import Control
from headrouter.editing.editor import Editor
from headrouter.plugins import registry
from headrouter.plugins.names import Entry
from headrouter.plugins.specifications import BackboneSpec
from headrouter_comfy.node import CATEGORY, MODEL, Node, node_of
from headrouter_comfy.parts import class_of, controls_by_name, is_usable, name_of_entry
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
    for entry in registry().entries("backbone"):
        if is_usable("backbone", entry):
            yield _node(io, entry)


def _node(io: Any, entry: Entry) -> Node:
    name, spec = name_of_entry(entry), entry.item
    assert isinstance(spec, BackboneSpec)
    controls = controls_by_name("backbone", name)

    def schema() -> Any:
        known = ", ".join(f"{one.name} ({one.summary.rstrip('.')})" for one in registry().models(entry.qualified_name))
        return io.Schema(
            node_id=f"{CATEGORY}.load.{name}",
            display_name=f"{name} (load model)",
            category=f"{CATEGORY}/models",
            description=spec.summary,
            inputs=[
                io.String.Input(
                    "model",
                    default=spec.default_model,
                    optional=True,
                    tooltip=f"Folder of a pipeline, a single file, a hub id, or a short name: {known}.",
                ),
                *inputs_of(io, (*controls, _MAX_ROWS)),
            ],
            outputs=[io.Custom(MODEL).Output(id="loaded", display_name="model")],
        )

    def run(model: str = "", **received: Any) -> tuple[Editor]:
        parameters = validate(class_of("backbone", name), values_of(controls, received), prefix="backbone.")
        rows = values_of([_MAX_ROWS], received)
        return (Editor(parameters, model=model.strip() or None, method=None, progress=False, **rows),)

    return node_of(io, schema, run)
