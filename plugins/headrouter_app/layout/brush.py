"""Make the brush, with which a visitor paints where an edit may act."""

from typing import Any

import gradio as gr
from PIL import Image

from headrouter.errors import HeadRouterError
from headrouter.imaging.picture import load_picture
from headrouter.masks.picture import PictureMask, pixels_of
from headrouter_app import choices
from headrouter_app.running import Visit
from headrouter_app.views import as_layer


def hidden() -> gr.ImageEditor:
    """Return a brush that is not to be seen yet."""
    return gr.ImageEditor(
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


def begun(own: Visit, path: str | None, mask: str) -> Any:
    """Show the brush on the picture where the mask is the visitor's own.

    It begins with what "use these settings" or "change this mask" put there, else with nothing painted. Where neither picture nor
    mask has changed, what the visitor painted is left as it is.
    """
    if own.painting is not None and choices.is_drawn(mask):
        (picture, layers), own.painting, own.paints = own.painting, None, (path, mask)
        return editor(picture, layers)
    if own.paints == (path, mask):
        return gr.skip()
    own.paints = path, mask
    if not choices.is_drawn(mask) or path is None:
        return gr.ImageEditor(visible=False)
    try:
        picture = load_picture(path)
    except HeadRouterError:  # said when the edit is asked for
        return gr.ImageEditor(visible=False)
    return editor(picture, [])


def editor(picture: Image.Image, layers: list[Image.Image]) -> Any:
    """Return the brush on a picture, of a size that fits it, with what is painted already."""
    brush = gr.Brush(default_size=max(1, max(picture.size) // 16), colors=["#ffffff"], color_mode="fixed")
    value: Any = {"background": picture, "layers": layers, "composite": picture}
    return gr.ImageEditor(value, brush=brush, visible=True)


def layer_of(mask: PictureMask) -> Image.Image:
    """Return a mask that was painted as a painted layer again."""
    return as_layer(Image.fromarray(pixels_of(mask.picture).mul(255).byte().numpy()))
