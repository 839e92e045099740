"""Lay out the page: what is asked, the parts with their parameters, the results, and the history."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import gradio as gr
from PIL import Image

from headrouter.config.controls import Control
from headrouter.errors import HeadRouterError
from headrouter.experiments.composing import SEVERAL
from headrouter.imaging.picture import load_picture
from headrouter.plugins.specifications import Kind
from headrouter_app import choices
from headrouter_app.asking import Asked, Field, settings_of
from headrouter_app.examples import examples
from headrouter_app.results import DEVICE, PRIVATE, in_sentences, shortened, show_result
from headrouter_app.running import Cancelled, Studio, Visit
from headrouter_app.views import as_layer
from headrouter_app.widgets import widget

LOOKS: Final[dict[str, Any]] = {
    "theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    "css": (Path(__file__).parent / "page.css").read_text(encoding="utf-8"),
}
_QUIET: Final[dict[str, Any]] = {**PRIVATE, "show_progress": "hidden"}


def page(studio: Studio) -> gr.Blocks:
    """Return the page of a loaded model."""
    blocks: gr.Blocks = gr.Blocks(
        title="headrouter", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True
    )
    with blocks:
        asked = Asked(visit=gr.State(Visit(), time_to_live=86400), shown=gr.State(0))
        gr.Markdown(f"# headrouter\n{studio.backbone}, {studio.model or 'default weights'}", elem_id="head")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                _ask(studio, asked)
                _run(asked)
                _choose_parts(studio, asked)
                _set_knobs(asked)
            with gr.Column(scale=3, min_width=320):
                _show_results(studio, asked)
    return blocks


def _ask(studio: Studio, asked: Asked) -> None:
    """Lay out picture, prompts and the knobs that every edit has."""
    asked.picture = gr.Image(
        label="picture",
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=260,
        interactive=True,
        elem_id="picture",
    )
    asked.picture.preprocess = _path_of  # the library reads it, within its own limits and with its own words
    with gr.Row(elem_id="examples"):
        buttons = [gr.Button(f"Example: {one.kind}", size="sm", min_width=90) for one in examples()]
    if not studio.takes_instructions:
        information = "What the picture shows; may be empty."
        asked.source = gr.Textbox(label="source prompt", info=information, interactive=True, elem_id="source")
    label = "instruction" if studio.takes_instructions else "target prompt"
    information = "What to do with the picture." if studio.takes_instructions else "What the picture shall show."
    asked.prompts = gr.Textbox(
        label=label,
        info=f"{information} A line each for several edits side by side.",
        lines=2,
        interactive=True,  # which gradio cannot know: the only event that takes it is laid out later
        elem_id="prompts",
    )
    for number, button in enumerate(buttons):
        button.elem_id = f"example-{number}"
        button.click(_example(studio, number), None, [asked.picture, *asked.texts], **_QUIET)


def _run(asked: Asked) -> None:
    """Lay out the buttons that run and cancel the edit; the first is connected when the parts are known."""
    with gr.Row():
        asked.run = gr.Button("Edit", variant="primary", elem_id="run")
        cancel = gr.Button("Cancel", elem_id="cancel")
    asked.status = gr.HTML("", elem_id="status", min_height=40, padding=False)
    cancel.click(_cancel, asked.visit, None, **_QUIET)


def _set_knobs(asked: Asked) -> None:
    """Lay out the knobs that every edit has."""
    every = choices.knobs()
    first = [one for one in every if one.name in choices.FIRST]
    with gr.Row(elem_id="knobs"):
        asked.knobs = [_knob(one) for one in first]
    with gr.Accordion("More", open=False, elem_id="more"):
        asked.knobs += [_knob(one) for one in every if one not in first]


def _knob(control: Control) -> Field:
    return Field(control, widget(control, f"knob-{control.name}"))


def _path_of(payload: Any) -> str | None:
    """Return the path of an uploaded file, which gradio keeps to the files of the page's own folder."""
    return None if payload is None else payload.path


def _example(studio: Studio, number: int) -> Callable[[], list[Any]]:
    def fill() -> list[Any]:
        item = examples()[number]
        texts = [item.instruction] if studio.takes_instructions else [item.source_prompt, item.prompt]
        return [item.picture(), *texts]

    return fill


def _choose_parts(studio: Studio, asked: Asked) -> None:
    """Lay out the choice of parts, and below it the knobs and parameters of the chosen ones."""
    with gr.Accordion("Parts: inversion, methods, operators, mask", open=False, elem_id="parts"):
        for kind, about in _KINDS.items():
            several, names, first = kind in SEVERAL, choices.offered(studio, kind), choices.default(studio, kind)
            begin: Any = [one for one in [first] if one in names] if several else first
            shared: dict[str, Any] = {"label": kind, "info": about, "elem_id": f"part-{kind}", "interactive": True}
            asked.parts[kind] = gr.Dropdown(names, value=begin, multiselect=several, **shared)
        asked.brush = gr.ImageEditor(
            label="Paint where the edit may act",
            type="pil",
            image_mode="RGBA",
            sources=(),
            transforms=(),
            layers=False,
            interactive=True,
            visible=False,
            format="png",
            elem_id="brush",
        )
        drawn_on = [asked.picture, asked.parts["mask"]]
        chosen = [
            asked.picture.change,
            asked.parts["mask"].input,
        ]  # not where "change this mask" sets it, and the brush too
        gr.on(chosen, _brush, drawn_on, asked.brush, **_QUIET)

    def parameters(inversion: str, methods: list[str], operators: list[str], mask: str) -> None:
        chosen: list[tuple[Kind, str]] = [("inversion", inversion), *(("operator", one) for one in operators)]
        _set_parameters(studio, asked, [*chosen, *(("method", one) for one in methods)], mask)

    gr.render(inputs=[asked.parts[kind] for kind in _KINDS])(parameters)


_KINDS: Final[Mapping[Kind, str]] = {
    "inversion": "How the picture becomes noise, if at all, and noise the edit.",
    "method": "What steers attention; several act in their order.",
    "operator": "What changes the velocity between model and inversion.",
    "mask": "Where the edit may act, for the parts that take one, or for pasting.",
}


def _brush(path: str | None, mask: str) -> Any:
    """Show the brush on the picture where the mask is the visitor's own."""
    if not choices.is_drawn(mask) or path is None:
        return gr.ImageEditor(visible=False)
    try:
        picture = load_picture(path)
    except HeadRouterError:  # said when the edit is asked for
        return gr.ImageEditor(visible=False)
    return _editor(picture, [])


def _editor(picture: Image.Image, layers: list[Image.Image]) -> Any:
    """Return the brush on a picture, of a size that fits it, with what is painted already."""
    brush = gr.Brush(default_size=max(1, max(picture.size) // 16), colors=["#ffffff"], color_mode="fixed")
    value: Any = {"background": picture, "layers": layers, "composite": picture}
    return gr.ImageEditor(value, brush=brush, visible=True)


def _set_parameters(studio: Studio, asked: Asked, chosen: choices.Chosen, mask: str) -> None:
    """Lay out knobs and parameters of the chosen parts, and connect the button that runs them."""
    with gr.Row():
        dials = [_knob(one) for one in choices.dials(chosen)]
    parameters: dict[tuple[Kind, str], list[Field]] = {}
    if not choices.is_none(mask) and not choices.is_drawn(mask):
        chosen = [*chosen, ("mask", mask)]
    for kind, name in chosen:
        own, key = choices.controls(kind, name), f"of-{kind}-{name}"
        with gr.Accordion(f"{kind}: {name}", open=False, visible=bool(own), elem_id=key, key=key):
            parameters[kind, name] = [Field(one, widget(one, f"{kind}-{name}-{one.name}")) for one in own]
    every = [*dials, *(one for own in parameters.values() for one in own)]
    inputs = {*asked.everywhere, *(one.component for one in every)}

    @in_sentences
    def prepare(data: dict[Any, Any]) -> str:
        own: Visit = data[asked.visit]
        picture, settings = settings_of(asked, data, dials, parameters)
        own.ask(picture, settings)
        return ""  # the queue shows itself

    @in_sentences
    def edit(own: Visit, progress: gr.Progress = gr.Progress()) -> tuple[str, Any]:  # noqa: B008  (where gradio looks for it)
        try:
            with own.asked(lambda phase, done, total: progress((done, total), desc=phase, unit="steps")) as job:
                entry = own.keep(job.settings, studio.edit(job.picture, job.settings, job))
        except Cancelled as cancelled:
            return str(cancelled), gr.skip()
        return "Done.", entry.number

    asked.run.click(prepare, inputs, asked.status, **_QUIET).success(
        edit, asked.visit, [asked.status, asked.shown], show_progress_on=asked.status, **DEVICE
    )


def _cancel(own: Visit) -> None:
    """Cancel the visitor's edit; the line below the button says when it has ended."""
    gr.Info("It ends with the next step." if own.cancel() else "There is nothing to cancel.", duration=3)


def _show_results(studio: Studio, asked: Asked) -> None:
    """Lay out the result that is shown, and the history."""

    def result(number: int, own: Visit) -> None:
        entry = own.entries.get(number)
        if entry is None:
            return
        change = show_result(studio, entry)
        if change is not None:
            drawn = next(name for name, _ in asked.parts["mask"].choices if choices.is_drawn(name))
            taken = [asked.parts["mask"], asked.brush]
            source, mask = entry.result.source, entry.result.mask
            change.click(lambda: [drawn, _editor(source, [as_layer(mask())])], None, taken, **_QUIET)
        _show_history(asked, own, number)

    gr.render(inputs=[asked.shown, asked.visit], triggers=[asked.shown.change])(result)


def _show_history(asked: Asked, own: Visit, number: int) -> None:
    entries = [*own.entries.values()][::-1]
    pictures = [(one.result.images[0], f"{one.number}: {shortened(one.settings.prompts[0])}") for one in entries]
    place = [one.number for one in entries].index(number)
    gallery = gr.Gallery(
        pictures,
        label="history",
        columns=6,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        selected_index=place,
        interactive=False,
        buttons=[],
        format="png",
        elem_id="history",
    )

    def choose(event: gr.SelectData) -> int:
        return entries[int(event.index)].number

    gallery.select(choose, None, asked.shown, **_QUIET)
