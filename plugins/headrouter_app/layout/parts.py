"""Lay out the choice of parts, and the parameters of those that are chosen."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import gradio as gr

from headrouter.experiments.composing import SEVERAL
from headrouter.plugins.specifications import Kind
from headrouter_app import choices
from headrouter_app.asking import Asked, Field, job_of
from headrouter_app.layout import brush
from headrouter_app.layout.results import PRIVATE, in_sentences
from headrouter_app.layout.widgets import widget
from headrouter_app.running import Studio, Visit

_QUIET: Final[dict[str, Any]] = {**PRIVATE, "show_progress": "hidden"}
_KINDS: Final[Mapping[Kind, str]] = {
    "inversion": "How the picture becomes noise, if at all, and noise the edit.",
    "method": "What steers attention; several act in their order.",
    "operator": "What changes the velocity between model and inversion.",
    "mask": "Where the edit may act, for the parts that take one, or for pasting.",
}


def choose_parts(studio: Studio, asked: Asked) -> None:
    """Lay out the choice of parts, the brush for a mask, and the place of the chosen parts' parameters."""
    with gr.Accordion("Parts: inversion, methods, operators, mask", open=False, elem_id="parts"):
        for kind, about in _KINDS.items():
            several, names, first = kind in SEVERAL, choices.offered(studio, kind), choices.default(studio, kind)
            begin: Any = [one for one in [first] if one in names] if several else first
            shared: dict[str, Any] = {"label": kind, "info": about, "elem_id": f"part-{kind}", "interactive": True}
            asked.parts[kind] = gr.Dropdown(names, value=begin, multiselect=several, **shared)
        asked.brush = brush.hidden()

    def parameters(own: Visit, inversion: str, methods: list[str], operators: list[str], mask: str) -> None:
        chosen: list[tuple[Kind, str]] = [("inversion", inversion), *(("operator", one) for one in operators)]
        _set_parameters(asked, [*chosen, *(("method", one) for one in methods)], mask, own.entered)

    every = [asked.parts[kind] for kind in _KINDS]
    triggers = [asked.page.load, asked.restored.change, *(one.change for one in every)]
    # one at a time: gradio counts for all visitors how often this was laid out, and forgets by that count what was there before
    gr.render(inputs=[asked.visit, *every], triggers=triggers, concurrency_limit=1)(parameters)


def _set_parameters(asked: Asked, chosen: choices.Chosen, mask: str, entered: Mapping[str, Any]) -> None:
    """Lay out knobs and parameters of the chosen parts, as they were entered, and connect the button for editing."""
    with gr.Row():
        dials = [Field(one, widget(one, f"knob-{one.name}", entered)) for one in choices.dials(chosen)]
    parameters: dict[tuple[Kind, str], list[Field]] = {}
    if not choices.is_none(mask) and not choices.is_drawn(mask):
        chosen = [*chosen, ("mask", mask)]
    for kind, name in chosen:
        own, key = choices.controls(kind, name), f"of-{kind}-{name}"
        with gr.Accordion(f"{kind}: {name}", open=False, visible=bool(own), elem_id=key, key=key):
            parameters[kind, name] = [Field(one, widget(one, f"{kind}-{name}-{one.name}", entered)) for one in own]
    every = [*dials, *(one for own in parameters.values() for one in own)]
    for one in every:  # gradio forgets it when parts are laid out anew
        one.component.change(_enter(one.component.elem_id), [asked.visit, one.component], None, queue=False, **_QUIET)
    inputs = {asked.visit, asked.ordered, *asked.written, *asked.pictures, *(one.component for one in every)}

    @in_sentences
    def prepare(data: dict[Any, Any]) -> tuple[str, int]:
        own: Visit = data[asked.visit]
        own.ask(job_of(asked, data, dials, parameters))
        return "", data[asked.ordered] + 1  # the queue shows itself

    known = ("prepare", *parameters)  # by which a click is still known where the same parts are laid out anew meanwhile
    asked.run.click(prepare, inputs, [asked.status, asked.ordered], key=known, **_QUIET)


def _enter(name: str) -> Callable[[Visit, Any], None]:
    def enter(own: Visit, content: Any) -> None:
        own.entered[name] = content

    return enter
