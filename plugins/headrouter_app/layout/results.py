"""Lay out a result: edits against the source, maps of words, weights of heads, code, the download."""

import html
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, ParamSpec, TypeVar

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from headrouter.editing.sheet import word_picture
from headrouter.errors import HeadRouterError
from headrouter.imaging.picture import psnr
from headrouter_app import views, writing
from headrouter_app.running import Entry, Studio

PRIVATE: Final[dict[str, Any]] = {"api_visibility": "private"}
DEVICE: Final[dict[str, Any]] = {**PRIVATE, "concurrency_limit": 1, "concurrency_id": "device"}
"""Of events that use the model: one at a time, the others wait in a queue."""
_LAST: Final[dict[str, Any]] = {**PRIVATE, "show_progress": "hidden", "trigger_mode": "always_last"}
"""Of choices: one that is made while another is on its way is not dropped."""
_LONGEST: Final = 60
_P = ParamSpec("_P")
_T = TypeVar("_T")
_INVERTED: Final = (
    "The picture after the same inversion and sampling, with its own prompt and unsteered: how well it is held."
)
_INSTRUCTED: Final = "The picture edited by the null instruction, unsteered: what is kept where no change is asked."
_SHOWN: Final[dict[str, Any]] = {"format": "png", "interactive": False, "buttons": ["download", "fullscreen"]}
"""Of pictures to look at: no button shares one on the network."""


@dataclass(frozen=True)
class Buttons:
    """Holds the buttons of a result that act on what is asked.

    Attributes:
        use: Puts the settings of the result back.
        change: Takes its mask to the brush; None where it has none.
    """

    use: gr.Button
    change: gr.Button | None


def show_result(studio: Studio, entry: Entry) -> Buttons:
    """Lay out an entry of the history, and return the buttons that act on what is asked."""
    result = entry.result
    with gr.Row(elem_id="edits"):
        for number in range(len(result.images)):
            with gr.Column(min_width=260, elem_classes="edit"):
                _show_edit(entry, number)
    with gr.Row():
        use = gr.Button("Use these settings", size="sm", elem_id="use")
        change = (
            gr.Button("Change this mask with the brush", size="sm", elem_id="change-mask")
            if result.has_mask()
            else None
        )
    with gr.Tabs(selected="words", elem_id="details"):  # or none is selected when a second result is laid out
        with gr.Tab("Words", id="words"):
            _show_choice(entry, "words", views.words_of, word_picture, "Where it acts: dark nowhere, bright most.")
        with gr.Tab("Heads"):
            _show_choice(entry, "blocks", views.steered_blocks, views.head_weights, "Weights of its heads, by step.")
        with gr.Tab("Reconstruction"):
            _show_reconstruction(studio, entry)
        with gr.Tab("As code"):
            _show_code(studio, entry)
    with gr.Row(elem_id="cost"):
        gr.Markdown(str(result.cost))
        gr.DownloadButton("Download (zip)", value=str(folder_of(entry)), size="sm", elem_id="download", min_width=120)
    return Buttons(use, change)


def _show_edit(entry: Entry, number: int) -> None:
    result = entry.result
    names = views.views_of(result, number)
    slider = gr.ImageSlider(
        _pair(entry, number, names[0]),
        label=_caption(entry, number),
        slider_position=views.middle_of_change(result.source, result.images[number]),
        elem_id=f"slider-{number}",
        **_SHOWN,
    )
    at = gr.State(50)
    with gr.Row():
        known: dict[str, Any] = {"value": names[0], "interactive": True}  # which a page knows of what is empty alone
        chosen = gr.Radio(names, label="beside the source", elem_id=f"view-{number}", scale=3, **known)
        flip = gr.Button("Flip", size="sm", elem_id=f"flip-{number}", min_width=60, scale=1)
    chosen.input(lambda name: _pair(entry, number, name), chosen, slider, **_LAST)
    flip.click(_flipped, at, [at, slider], show_progress="hidden", **PRIVATE)


def _caption(entry: Entry, number: int) -> str:
    """Return the prompt of an edit, with the seed and the strength where these differ among the edits."""
    result = entry.result
    seed = [f"seed {result.seeds[number]}"] if len(set(result.seeds)) > 1 else []
    return ", ".join([shortened(result.prompts[number].text), *seed, *result.strengths[number : number + 1]])


def _flipped(at: int) -> tuple[int, Any]:
    """Show the other picture alone: the source, or what stands beside it."""
    position = 100 if at != 100 else 0
    return position, gr.ImageSlider(slider_position=position)


def _pair(entry: Entry, number: int, name: str) -> tuple[Image.Image, Image.Image]:
    return entry.result.source, views.view(entry.result, number, name)


def _show_choice(entry: Entry, name: str, choices: Any, draw: Any, about: str) -> None:
    """Lay out something to choose of each edit, and the picture that is drawn of it."""
    found = {number: choices(entry.result, number) for number in range(len(entry.result.images))}
    if not any(found.values()):
        gr.Markdown(f"No {name} were recorded: the model or the methods of this edit do not tell.")
        return
    radios = {
        number: gr.Radio(some, label=_caption(entry, number), info=about, elem_id=f"{name}-{number}")
        for number, some in found.items()
        if some
    }
    picture = gr.Image(label=name, show_label=False, height=320, visible=False, elem_id=f"{name}-picture", **_SHOWN)
    for number, radio in radios.items():

        def show(value: Any, number: int = number) -> Any:
            return gr.Image(draw(entry.result, value, number), visible=True)

        radio.input(show, radio, picture, **_LAST)


def _show_reconstruction(studio: Studio, entry: Entry) -> None:
    instructed = entry.job.settings.inversion.takes_references
    gr.Markdown(_INSTRUCTED if instructed else _INVERTED)
    button = gr.Button("Reconstruct", size="sm", elem_id="reconstruct")
    slider = gr.ImageSlider(label="reconstruction", visible=False, elem_id="reconstruction", **_SHOWN)

    @in_sentences
    def reconstruct() -> Any:
        found = studio.reconstruct(entry.result)
        label = f"reconstruction, {psnr(found, entry.result.source):.1f} dB to the source"
        return gr.ImageSlider((entry.result.source, found), label=label, visible=True)

    button.click(reconstruct, None, slider, **DEVICE)


def _show_code(studio: Studio, entry: Entry) -> None:
    gr.Markdown("The same edit elsewhere. The pictures that it names are in the folder to download.")
    for name, language, write in (
        ("command", "shell", writing.command),
        ("python", "python", writing.python),
        ("yaml", "yaml", writing.experiment),
    ):
        try:
            text = write(studio, entry.job.settings)
        except HeadRouterError as error:
            text = f"# This edit has no such form: {error}"
        shared: dict[str, Any] = {"language": language, "interactive": False, "wrap_lines": True, "lines": 1}
        gr.Code(text, label=name, elem_id=f"code-{name}", **shared)


def in_sentences(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a function whose errors that a user can mend are shown on the page, in their words."""

    @wraps(function)
    def spoken(*given: _P.args, **named: _P.kwargs) -> _T:
        try:
            return function(*given, **named)
        except HeadRouterError as error:
            raise gr.Error(html.escape(str(error), quote=False), duration=None, print_exception=False) from error

    return spoken


def folder_of(entry: Entry) -> Path:
    """Return the ZIP file of a result's folder, under a name that cannot be guessed; it is written once."""
    place = Path(get_upload_folder()) / entry.secret
    path = place / f"headrouter-edit-{entry.number}.zip"
    if path.is_file():
        return path
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place) as scratch:
        folder = entry.result.save(Path(scratch) / "edit")
        packed = Path(scratch) / path.name
        with zipfile.ZipFile(packed, "w") as file:
            for one in sorted(folder.iterdir()):
                file.write(one, one.name)
        return packed.replace(path)


def shortened(text: str) -> str:
    """Return the beginning of a prompt.

    >>> len(shortened("a red star " * 20))
    60
    """
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
