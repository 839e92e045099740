"""Make the node that loads a model: a diffusers pipeline from a folder, a hub id or a short name, apart from ComfyUI's weights."""

from typing import Any, Final

from headrouter_diffusers.parameters import DiffusersParameters

from headrouter.config.configuration import validate
from headrouter.config.controls import Control, controls_of
from headrouter.editing.assembly import part_class
from headrouter.editing.editor import Editor
from headrouter.plugins import registry
from headrouter.plugins.specifications import Model
from headrouter_comfy.node import CATEGORY, MODEL, Node, node_of
from headrouter_comfy.parts import name_of_entry
from headrouter_comfy.widgets import inputs_of, values_of

_MORE: Final = Control(
    "parameters",
    "value",
    default={},
    help="Further parameters of this family of models, see `headrouter schema`: {t5: false, max_sequence_length: 128}.",
)
_FIRST: Final = ("sd3.5", "shapes")
"""The model that the node begins with: one that is bundled."""


def load_node(io: Any) -> Node:
    """Return the node that loads a model."""
    controls = (*controls_of(DiffusersParameters), _MORE)
    most_rows = Control("max_rows", "integer", help=_MAX_ROWS, minimum=2, optional=True)

    def schema() -> Any:
        families = [name_of_entry(entry) for entry in registry().entries("backbone")]
        known = sorted(f"{one.backbone}: {one.name}" for one in _models())
        return io.Schema(
            node_id=f"{CATEGORY}.load",
            display_name="Load model (headrouter)",
            category=CATEGORY,
            description="Loads a diffusers pipeline, which edits pictures by text.",
            inputs=[
                io.Combo.Input("backbone", options=families, default=_FIRST[0], tooltip="Family of the model."),
                io.String.Input(
                    "model",
                    default=_FIRST[1],
                    tooltip=f"{_MODEL} {', '.join(known)}.",
                ),
                *inputs_of(io, (*controls, most_rows)),
            ],
            outputs=[io.Custom(MODEL).Output(id="loaded", display_name="model")],
        )

    def run(backbone: str, model: str, **received: Any) -> tuple[Editor]:
        values = values_of(controls, received)
        values |= values.pop("parameters", {})
        rows = values_of([most_rows], received)
        parameters = validate(part_class("backbone", backbone), values)
        return (Editor(parameters, model=model.strip() or None, method=None, progress=False, **rows),)

    return node_of(io, schema, run)


_MODEL: Final = (
    "Folder of a pipeline, a single file, a hub id, or a short name; empty: the family's first. Short names:"
)
_MAX_ROWS: Final = (
    "Most rows (the picture, and its edits) in one call of the model; more edits run one group after the other."
)


def _models() -> list[Model]:
    return [entry.item for entry in registry().entries("model") if isinstance(entry.item, Model)]
