"""Draw what a result page shows beside the edit: differences, masks, maps of words, weights of heads."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image, ImageChops
from torch import Tensor

from headrouter.editing.result import Result
from headrouter.editing.sheet import drawn
from headrouter.errors import InvalidInputError
from headrouter.prompts.words import fold

AMPLIFIED: Final = 4
_OPAQUE: Final = 0.6


def views_of(result: Result, number: int) -> list[str]:
    """Return the names of the pictures that can stand beside the source of an edit."""
    return [name for name in _VIEWS if name != "mask" or result.has_mask(number)]


def view(result: Result, number: int, name: str) -> Image.Image:
    """Return one of the pictures that can stand beside the source of an edit."""
    return _VIEWS[name](result, number)


def difference(source: Image.Image, edit: Image.Image) -> Image.Image:
    """Return the difference of two pictures in each pixel and colour, amplified: black where they are equal.

    >>> difference(Image.new("RGB", (1, 1), (10, 90, 0)), Image.new("RGB", (1, 1), (20, 0, 0))).getpixel((0, 0))
    (40, 255, 0)
    """
    return ImageChops.difference(source.convert("RGB"), edit.convert("RGB")).point(
        lambda level: min(255, AMPLIFIED * level)
    )


def middle_of_change(source: Image.Image, edit: Image.Image) -> int:
    """Return where the middle of the change is, in percent of the width from the left; large differences count most.

    >>> source, edit = Image.new("RGB", (100, 1)), Image.new("RGB", (100, 1))
    >>> edit.paste((255, 0, 0), (10, 0, 21, 1))
    >>> middle_of_change(source, edit), middle_of_change(source, source)
    (15, 50)
    """
    weights = np.square(np.asarray(difference(source, edit).convert("L"), dtype=np.float64)).sum(axis=0)
    places = np.linspace(0, 100, len(weights), endpoint=False)
    return round(np.average(places, weights=weights)) if weights.any() else 50


def overlay(source: Image.Image, mask: Image.Image) -> Image.Image:
    """Return the source, dimmed outside the mask."""
    plain = source.convert("RGB")
    dimmed = Image.blend(plain.convert("L").convert("RGB"), Image.new("RGB", plain.size, (96, 96, 96)), _OPAQUE)
    return Image.composite(plain, dimmed, mask.convert("L"))


_VIEWS: Final[Mapping[str, Callable[[Result, int], Image.Image]]] = {
    "edit": lambda result, number: result.images[number],
    f"difference, {AMPLIFIED} times": lambda result, number: difference(result.source, result.images[number]),
    "mask": lambda result, number: overlay(result.source, result.mask(number)),
}


def words_of(result: Result, number: int) -> list[str]:
    """Return the words of an edit's prompt that have a map: those that the source does not have first, each once."""
    if not result.has("text_maps"):
        return []
    prompt = result.prompts[number]
    new = [*map(fold, prompt.new_words(result.source_prompt))]
    found: dict[str, str] = {}
    for word in sorted(prompt.words, key=lambda one: fold(one) not in new):
        try:
            prompt.find(word)
        except InvalidInputError:  # the model does not read it
            continue
        found.setdefault(fold(word), word)
    return [*found.values()]


def steered_blocks(result: Result, number: int) -> list[int]:
    """Return the numbers of the joint layers whose heads got weights."""
    if not result.has("head_weights"):
        return []
    acted = ~result.head_weights[number].isnan().all(dim=2).all(dim=0)
    return [int(block) for block in acted.nonzero()[:, 0]]


def head_weights(result: Result, block: int, number: int) -> Image.Image:
    """Draw the weights of a block's heads over the steps."""
    weights: Float[Tensor, "steps heads"] = result.head_weights[number, :, block]
    figure = Figure(figsize=(5, 3.2), layout="constrained", dpi=120)
    axes = figure.subplots()
    image = axes.imshow(weights.numpy(), cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set(xlabel="head", ylabel="step", title=f"block {block}: weight of each head (1: as the model has it)")
    axes.title.set_fontsize(9)
    axes.locator_params(integer=True)
    figure.colorbar(image, ax=axes)
    return drawn(figure)


def drawn_mask(layers: list[Image.Image], size: tuple[int, int]) -> Image.Image | None:
    """Return what was painted on transparent layers, white, on black, in a picture's size; None where nothing is."""
    painted = Image.new("L", size)
    for layer in layers:
        alpha = layer.convert("RGBA").getchannel("A").point(lambda level: 255 * (level >= 128))
        painted = ImageChops.lighter(painted, alpha.resize(size, Image.Resampling.NEAREST))
    return painted if painted.getbbox() else None


def as_layer(mask: Image.Image) -> Image.Image:
    """Return a mask as a painted layer: white and opaque inside, transparent outside."""
    inside = mask.convert("L").point(lambda level: 255 * (level >= 128))
    layer = Image.new("RGBA", mask.size, (255, 255, 255, 0))
    layer.putalpha(inside)
    return layer
