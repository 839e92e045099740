"""Lay out the page: what is asked on the left, the results and the history on the right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gradio as gr

from headrouter.config.controls import Control
from headrouter.masks.picture import PictureMask
from headrouter_app import choices
from headrouter_app.asking import Asked, Field
from headrouter_app.examples import examples
from headrouter_app.layout import brush
from headrouter_app.layout.parts import choose_parts
from headrouter_app.layout.results import DEVICE, PRIVATE, in_sentences, shortened, show_result
from headrouter_app.layout.widgets import widget
from headrouter_app.running import Cancelled, Entry, Studio, Visit
from headrouter_app.views import as_layer

LOOKS: Final[dict[str, Any]] = {
    "theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    "css": (Path(__file__).parent / "page.css").read_text(encoding="utf-8"),
}
_QUIET: Final[dict[str, Any]] = {**PRIVATE, "show_progress": "hidden"}
_UPLOAD: Final[dict[str, Any]] = {"type": "filepath", "format": "png", "sources": ["upload", "clipboard"]}
"""Of pictures to give; a drawing of an example is not compressed."""


def page(studio: Studio) -> gr.Blocks:
    """Return the page of a loaded model."""
    blocks: gr.Blocks = gr.Blocks(
        title="headrouter", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True
    )
    with blocks:
        counts: dict[str, Any] = {name: gr.State(0) for name in ("shown", "ordered", "restored")}
        asked = Asked(visit=gr.State(Visit(), time_to_live=86400), **counts, page=blocks)
        gr.Markdown(f"# headrouter\n{studio.backbone}, {studio.model or 'default weights'}", elem_id="head")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                _ask(studio, asked)
                _run(studio, asked)
                choose_parts(studio, asked)
                _set_knobs(asked)
            with gr.Column(scale=3, min_width=320):
                _show_results(studio, asked)
        _connect(studio, asked)
    return blocks


def _ask(studio: Studio, asked: Asked) -> None:
    """Lay out pictures and prompts."""
    shared: dict[str, Any] = {
        "interactive": True
    }  # which gradio cannot know: the event that takes them is laid out later
    asked.picture = gr.Image(label="picture", image_mode=None, height=260, elem_id="picture", **_UPLOAD, **shared)
    asked.picture.preprocess = _path_of  # the library reads it, within its own limits and with its own words
    with gr.Row(elem_id="examples"):
        asked.example = [
            gr.Button(f"Example: {one.kind}", size="sm", min_width=90, elem_id=f"example-{number}")
            for number, one in enumerate(examples())
        ]
    inversion = studio.default_inversion
    if studio.further_references:
        asked.references = gr.Gallery(
            label=f"further reference pictures, {studio.further_references} at most; the picture is number 1",
            visible=choices.takes_references(inversion),
            height=180,
            columns=4,
            object_fit="contain",
            elem_id="references",
            **_UPLOAD,
            **shared,
        )
    if studio.takes_captions:
        information = "What the picture shows; may be empty."
        visible = not choices.takes_references(inversion)
        asked.source = gr.Textbox(label="source prompt", info=information, elem_id="source", visible=visible, **shared)
    asked.prompts = gr.Textbox(lines=2, elem_id="prompts", **_prompts(inversion), **shared)


def _prompts(inversion: str) -> dict[str, Any]:
    """Return label and help of the prompts of edits."""
    label, about = "target prompt", "What the picture shall show."
    if choices.takes_references(inversion):
        label, about = "instruction", "What to do with the picture."
    return {"label": label, "info": f"{about} A line each for several edits side by side."}


def _run(studio: Studio, asked: Asked) -> None:
    """Lay out the buttons that run and cancel the edit; the first is connected when the parts are known."""
    with gr.Row():
        asked.run = gr.Button("Edit", variant="primary", elem_id="run")
        cancel = gr.Button("Cancel", elem_id="cancel")
    asked.status = gr.HTML("", elem_id="status", min_height=40, padding=False)

    @in_sentences
    def edit(own: Visit, progress: gr.Progress = gr.Progress()) -> tuple[str, Any]:  # noqa: B008  (where gradio looks for it)
        try:
            with own.asked(lambda phase, done, total: progress((done, total), desc=phase, unit="steps")) as job:
                entry = own.keep(job, studio.edit(job))
        except Cancelled as cancelled:
            return str(cancelled), gr.skip()
        return "Done.", entry.number

    # not after the click, which is forgotten where parts are laid out anew before it was answered
    seen = [asked.status, asked.shown]
    asked.ordered.change(edit, asked.visit, seen, show_progress_on=asked.status, **DEVICE)
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


def _connect(studio: Studio, asked: Asked) -> None:
    """Connect the components that act on each other."""
    inversion, mask = asked.parts["inversion"], asked.parts["mask"]
    for number, button in enumerate(asked.example):
        button.click(_example(number), inversion, [asked.picture, *asked.texts], **_QUIET)
    # the one event that sets the brush, asked again where something changed meanwhile: of two, the older answer may come last
    changes = [asked.restored.change, asked.picture.change, mask.change]
    taken = [asked.visit, asked.picture, mask]
    gr.on(changes, brush.begun, taken, asked.brush, trigger_mode="always_last", **_QUIET)
    if studio.takes_captions and "reference-pictures" in studio.provides:
        both = [asked.prompts, asked.source, *([asked.references] if studio.further_references else [])]
        inversion.change(lambda name: _prompts_for(name)[: len(both)], inversion, both, **_QUIET)


def _prompts_for(inversion: str) -> list[Any]:
    """Ask for what an inversion takes: captions of both pictures, or an instruction and further reference pictures."""
    instructed = choices.takes_references(inversion)
    return [gr.Textbox(**_prompts(inversion)), gr.Textbox(visible=not instructed), gr.Gallery(visible=instructed)]


def _example(number: int) -> Callable[[str], list[Any]]:
    def fill(inversion: str) -> list[Any]:
        item = examples()[number]
        return [
            item.picture(),
            *([item.instruction] if choices.takes_references(inversion) else [item.source_prompt, item.prompt]),
        ]

    return fill


def _cancel(own: Visit) -> None:
    """Cancel the visitor's edit; the line below the button says when it has ended."""
    gr.Info("It ends with the next step." if own.cancel() else "There is nothing to cancel.", duration=3)


def _show_results(studio: Studio, asked: Asked) -> None:
    """Lay out the result that is shown, and the history."""

    def result(number: int, own: Visit) -> None:
        entry = own.entries.get(number)
        if entry is None:
            return
        buttons = show_result(studio, entry)
        put_back = [asked.restored, *asked.written, *(one for one in asked.pictures if one is not asked.brush)]
        buttons.use.click(lambda times: restored(asked, own, entry, times), asked.restored, put_back, **_QUIET)
        if buttons.change is not None:
            taken = [asked.parts["mask"], asked.restored]
            buttons.change.click(lambda times: repainted(asked, own, entry, times), asked.restored, taken, **_QUIET)
        _show_history(asked, own, number)

    gr.render(inputs=[asked.shown, asked.visit], triggers=[asked.shown.change])(result)


def restored(asked: Asked, own: Visit, entry: Entry, times: int) -> dict[Any, Any]:
    """Return what each component held when an edit was asked for; ``times`` counts how often this was done.

    Those of the parts' parameters are what the visitor entered last; they are laid out when the parts are known, and so is the
    brush.
    """
    job = entry.job
    found = {one: job.contents[one.elem_id] for one in asked.written}
    mask = job.settings.mask
    own.painting = (job.picture, [brush.layer_of(mask)]) if isinstance(mask, PictureMask) else None
    if asked.references is not None:
        found[asked.references] = [*job.settings.references]
    own.entered.update(job.contents)
    return {**found, asked.picture: job.picture, asked.restored: times + 1}


def repainted(asked: Asked, own: Visit, entry: Entry, times: int) -> tuple[str, int]:
    """Choose the mask that is painted, and have the brush begin with the mask of an edit."""
    own.painting = entry.result.source, [as_layer(entry.result.mask())]
    return next(name for name, _ in asked.parts["mask"].choices if choices.is_drawn(name)), times + 1


def _show_history(asked: Asked, own: Visit, number: int) -> None:
    entries = [*own.entries.values()][::-1]
    pictures = [(one.result.images[0], f"{one.number}: {shortened(one.job.settings.prompts[0])}") for one in entries]
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

    gallery.select(choose, None, asked.shown, trigger_mode="multiple", **_QUIET)
