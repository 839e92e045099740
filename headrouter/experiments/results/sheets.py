"""Draw the same edits by several configurations on one sheet, to be looked at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from headrouter.experiments.dataset import Item
from headrouter.imaging.picture import save_picture

_TILE: Final = 128
_GAP: Final = 6
_LINE: Final = 14
_FONT: Final = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
_FRAMES: Final = {True: "darkgreen", False: "firebrick", None: "white"}


@dataclass(frozen=True, slots=True)
class Line:
    """Describes a line of a sheet.

    Attributes:
        label: Name of the configuration.
        picture: Returns its picture of an item; None where there is none.
        right: Whether the edit of an item is right, by the item's key; an item that is not there has no frame.
    """

    label: str
    picture: Callable[[Item], Image.Image | None]
    right: Mapping[str, bool]


def save_comparison(lines: Sequence[Line], items: Sequence[Item], path: Path, each: int = 2) -> None:
    """Draw a column for each edit, the first ``each`` of every kind, and a line for each configuration.

    The source comes first, the truth, where it is known, last. A right edit has a green frame, a wrong one a red one.
    """
    kinds = dict.fromkeys(item.kind for item in items)
    chosen = [item for kind in kinds for item in [one for one in items if one.kind == kind][:each]]
    known = any(item.truth() is not None for item in chosen)
    every = [Line("source", lambda item: item.picture(), {}), *lines]
    every += [Line("truth", lambda item: item.truth(), {})] if known else []
    font = ImageFont.truetype(_FONT, 10)
    margin = 2 * _GAP + round(max(font.getlength(line.label) for line in every))
    step = _TILE + 2 * _GAP
    size = margin + len(chosen) * step, 3 * _LINE + _GAP + len(every) * step
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(every):
        pen.text((_GAP, 3 * _LINE + _GAP + row * step + _TILE // 2), line.label, "black", font)
    for column, item in enumerate(chosen):
        x = margin + column * step
        for number, text in enumerate((item.kind, *_changed(item, font))):
            pen.text((x, 2 + number * _LINE), text, "black", font)
        for row, line in enumerate(every):
            y = 3 * _LINE + _GAP + row * step
            pen.rectangle((x - 3, y - 3, x + _TILE + 2, y + _TILE + 2), _FRAMES[line.right.get(item.key)])
            picture = line.picture(item)
            if picture is None:
                pen.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), "lightgrey")
                pen.text((x + _GAP, y + _TILE // 2), "missing", "black", font)
            else:
                sheet.paste(_tile(picture), (x, y))
    save_picture(sheet, path)


def _changed(item: Item, font: ImageFont.FreeTypeFont) -> list[str]:
    """Return two short lines: the words that only the source prompt has, and those that only the prompt has."""
    before, after = item.source_prompt.split(), item.prompt.split()
    lines = [" ".join(word for word in one if word not in other) for one, other in ((before, after), (after, before))]
    return [_cut(line, font) for line in lines]


def _cut(text: str, font: ImageFont.FreeTypeFont) -> str:
    while text and font.getlength(text) > _TILE:
        text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
    return text


def _tile(picture: Image.Image) -> Image.Image:
    """Return the picture on a white square; small pictures keep hard edges."""
    scale = _TILE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.convert("RGB").resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (_TILE, _TILE), "white")
    tile.paste(small, ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile
