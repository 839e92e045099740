"""Make the node that edits pictures by text."""

import json
from dataclasses import replace
from typing import Any, Final

from PIL import Image

from headrouter.config.controls import Control, controls_of
from headrouter.editing.editor import Editor
from headrouter.editing.request import Request
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter.plugins import registry
from headrouter_comfy.node import CATEGORY, EDITS, INVERSION, METHODS, MODEL, OPERATORS, Node, node_of
from headrouter_comfy.steps import comfy_progress
from headrouter_comfy.tensors import mask_tensor_of, masks_of, pictures_of, tensor_of
from headrouter_comfy.widgets import inputs_of, mask_input, values_of

_TEXTS: Final = ("prompt", "source_prompt", "negative_prompt")
_LARGEST_SEED: Final = 2**53 - 1
_NO_PRESET: Final = "none"


def edit_node(io: Any) -> Node:
    """Return the node that edits pictures by text; its widgets are those of a request, with the knobs."""
    controls = {one.name: one for one in controls_of(Request)}
    mask = controls.pop("mask")
    texts = [controls.pop(name) for name in _TEXTS]
    seed, preset = controls.pop("seed"), controls.pop("preset")

    def schema() -> Any:
        presets = sorted({one.name for one in registry().presets()})
        parts = ((INVERSION, "the model's"), (OPERATORS, "none"), (METHODS, "headrouter"))
        return io.Schema(
            node_id=f"{CATEGORY}.edit",
            display_name="Edit (headrouter)",
            category=CATEGORY,
            description="Edits pictures by text. One picture comes out for each line of the prompt.",
            inputs=[
                io.Custom(MODEL).Input("model", tooltip="A loaded model, of a node under models."),
                io.Image.Input("image", tooltip="Pictures to edit, each by itself."),
                *(_text(io, one) for one in texts),
                io.Combo.Input(
                    "preset",
                    options=[_NO_PRESET, *presets],
                    default=_NO_PRESET,
                    optional=True,
                    tooltip=preset.help,
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=_LARGEST_SEED,
                    control_after_generate=True,
                    optional=True,
                    tooltip=seed.help,
                ),
                *inputs_of(io, controls.values()),
                mask_input(
                    io, "mask", optional=True, tooltip=f"{mask.help} A MASK of the picture's size, or a mask part."
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Further pictures for the model to look at, where it takes some.",
                ),
                *(
                    io.Custom(wire).Input(_name(wire), optional=True, tooltip=f"Not connected: {default}.")
                    for wire, default in parts
                ),
            ],
            outputs=[
                io.Image.Output(id="edited", display_name="image"),
                io.Mask.Output(id="mask_used", display_name="mask"),
                io.String.Output(id="record", display_name="record"),
                io.Custom(EDITS).Output(id="edits", display_name="edits"),
            ],
        )

    def run(model: Editor, image: Any, prompt: str, **received: Any) -> tuple[Any, ...]:
        inversion, methods = received.pop("inversion", None), received.pop("methods", "headrouter")
        operators, references = received.pop("operators", None), received.pop("references", None)
        editor = model.with_parts(inversion, methods, operators=operators, progress=comfy_progress())
        asked = {name: received.pop(name, "") for name in _TEXTS[1:]} | {"seed": received.pop("seed", 0)}
        chosen = received.pop("preset", _NO_PRESET)
        asked |= {"preset": None if chosen == _NO_PRESET else chosen}
        pictures, given = pictures_of(image), received.pop("mask", None)
        asked |= values_of(controls.values(), received)
        further = [] if references is None else pictures_of(references, "references")
        results = [
            editor.edit(picture, lines_of(prompt), mask=own, references=further, **asked)
            for picture, own in zip(pictures, masks_of(given, len(pictures)), strict=True)
        ]
        edited = [one for result in results for one in result.images]
        return tensor_of(edited), mask_tensor_of(masks_used(results)), record_text(results), results

    return node_of(io, schema, run)


def lines_of(prompt: str) -> list[str]:
    """Return the prompts of an edit, one a line; empty lines count for nothing.

    Raises:
        InvalidInputError: there is none.
    """
    lines = [line.strip() for line in prompt.splitlines() if line.strip()]
    if not lines:
        raise InvalidInputError(f"`prompt` must say what the picture shall show (got {prompt!r}).")
    return lines


def masks_used(results: list[Result]) -> list[Any]:
    """Return the mask of each edit, as it was last; white everywhere where there was none."""
    return [
        result.mask(number) if result.has_mask(number) else Image.new("L", result.source.size, "white")
        for result in results
        for number in range(len(result.images))
    ]


def record_text(results: list[Result]) -> str:
    """Return the records as JSON: that of a single picture, or a list."""
    plain = [result.record.plain() for result in results]
    return json.dumps(plain[0] if len(plain) == 1 else plain, indent=2, ensure_ascii=False, allow_nan=False)


def _text(io: Any, control: Control) -> Any:
    more = " One edit for each line." if control.name == "prompt" else ""
    shown = replace(control, help=control.help + more)
    optional = control.name != "prompt"
    return io.String.Input(shown.name, default="", multiline=True, optional=optional, tooltip=shown.help)


def _name(wire: str) -> str:
    return wire.removeprefix("HEADROUTER_").lower()
