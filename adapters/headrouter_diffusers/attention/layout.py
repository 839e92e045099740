"""Lay out the tokens of a joint sequence: registers, text, image, reference pictures and what they are filled up with."""

import functools
from itertools import starmap

from headrouter.attention.joint_attention import ReferenceTokens, TokenLayout


@functools.lru_cache(256)
def layout_of(
    text_first: bool,
    filled_to: int,
    registers: int,
    text: int,
    grids: tuple[tuple[int, int], ...],
    segments: tuple[tuple[str, int], ...],
) -> TokenLayout:
    """Return the layout of a joint sequence.

    It is asked for at every model call and depends on these numbers alone, so it is kept.

    Args:
        text_first, filled_to, registers: As of :class:`~headrouter_diffusers.pipeline.DiffusersBackbone`.
        text: Number of text tokens.
        grids: Rows and columns of tokens of the image and of each reference picture.
        segments: The text's parts by encoder.
    """
    names = ("image", *(f"reference {number}" for number in range(len(grids) - 1)))
    sizes = {"registers": registers, "text": text} | {name: h * w for name, (h, w) in zip(names, grids, strict=True)}
    order = ("registers", "text", *names) if text_first else (*names, "registers", "text")
    at, padding, place = dict[str, slice](), list[slice](), 0
    for part in order:
        at[part] = slice(place, place + sizes[part])
        place = at[part].stop
        if part != "registers" and (missing := -sizes[part] % filled_to):
            padding.append(slice(place, place + missing))
            place += missing
    return TokenLayout(
        at["text"],
        at["image"],
        grids[0],
        segments,
        registers=at["registers"],
        padding=tuple(padding),
        references=tuple(starmap(ReferenceTokens, zip((at[name] for name in names[1:]), grids[1:], strict=True))),
    )
