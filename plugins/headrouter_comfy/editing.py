"""Make the node that edits pictures by text."""

import json
from typing import Any, Final

from PIL import Image

from headrouter.config.controls import controls_of
from headrouter.editing.assembly import AUTO
from headrouter.editing.editor import Editor
from headrouter.editing.request import Request
from headrouter.editing.result import Result
from headrouter.plugins import registry
from headrouter_comfy.node import EDITS, INVERSION, METHODS, MODEL, OPERATORS, Node, node_of
from headrouter_comfy.steps import comfy_progress
from headrouter_comfy.tensors import mask_tensor_of, masks_of, pictures_of, tensor_of
from headrouter_comfy.widgets import inputs_of, mask_input, values_of

_TEXTS: Final = (("prompt", "One edit for each line."), ("source_prompt",), ("negative_prompt",))
"""Fields that are texts of several lines; more is said of the one that must be there."""
_LARGEST_SEED: Final = 2**53 - 1
_NO_PRESET: Final = "none"


def edit_node(io: Any) -> Node:
    """Return the node that edits pictures by text; its widgets are those of a request, with the knobs."""
    controls = {one.name: one for one in controls_of(Request)}
    mask, preset, seed = (controls.pop(name) for name in ("mask", "preset", "seed"))
    texts = [
        io.String.Input(
            name, default="", multiline=True, optional=not more, tooltip=" ".join([controls.pop(name).help, *more])
        )
        for name, *more in _TEXTS
    ]
    names = sorted({one.name for one in registry().presets()})
    inputs = [
        io.Custom(MODEL).Input("model", tooltip="A loaded model, of a node under models."),
        io.Image.Input("image", tooltip="Pictures to edit, each by itself."),
        *texts,
        io.Combo.Input("preset", options=[_NO_PRESET, *names], default=_NO_PRESET, optional=True, tooltip=preset.help),
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
        mask_input(io, "mask", optional=True, tooltip=f"{mask.help} A MASK of the picture's size, or a mask part."),
        io.Image.Input(
            "references", optional=True, tooltip="Further pictures for the model to look at, where it takes some."
        ),
        io.Custom(INVERSION).Input("inversion", optional=True, tooltip="Not connected: the model's."),
        io.Custom(OPERATORS).Input("operators", optional=True, tooltip="Not connected: none."),
        io.Custom(METHODS).Input(
            "methods", optional=True, tooltip="Not connected: what suits the inversion, headrouter or none."
        ),
    ]

    def run(
        model: Editor,
        image: Any,
        prompt: str,
        source_prompt: str = "",
        negative_prompt: str = "",
        preset: str = _NO_PRESET,
        seed: int = 0,
        mask: Any = None,
        references: Any = None,
        inversion: Any = None,
        operators: Any = None,
        methods: Any = AUTO,
        **knobs: Any,
    ) -> tuple[Any, ...]:
        editor = model.with_parts(inversion, methods, operators=operators, progress=comfy_progress())
        lines = [line.strip() for line in prompt.splitlines() if line.strip()]
        asked = {"negative_prompt": negative_prompt, "seed": seed, **values_of(controls.values(), knobs)}
        asked["preset"] = None if preset == _NO_PRESET else preset
        asked["references"] = [] if references is None else pictures_of(references, "references")
        pictures = pictures_of(image)
        results = [
            editor.edit(picture, lines, source_prompt, mask=own, **asked)
            for picture, own in zip(pictures, masks_of(mask, len(pictures)), strict=True)
        ]
        edited = [one for result in results for one in result.images]
        return tensor_of(edited), mask_tensor_of(masks_used(results)), record_text(results), results

    return node_of(
        io,
        "edit",
        run,
        title="Edit (headrouter)",
        about="Edits pictures by text. One picture comes out for each line of the prompt.",
        inputs=inputs,
        outputs=[
            io.Image.Output(id="edited", display_name="image"),
            io.Mask.Output(id="mask_used", display_name="mask"),
            io.String.Output(id="record", display_name="record"),
            io.Custom(EDITS).Output(id="edits", display_name="edits"),
        ],
    )


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
