"""Draw the gallery: kinds of edit on a bundled model, with the map, the mask and the head weights of each.

    make gallery    # python -m benchmarks.gallery --out docs/images/gallery

Every picture has 64 × 64 pixels, shown four times as large without smoothing. An edit that the oracle does not read as right is
drawn all the same, and named on the standard output.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.oracle import read
from headrouter_shapes.world.render import render
from headrouter_shapes.world.scene import Scene
from matplotlib import colormaps, get_data_path
from PIL import Image, ImageDraw, ImageFont

from headrouter import Editor
from headrouter.editing.result import Result

TIMES: Final = 4
SIDE: Final = 64 * TIMES
GAP: Final = 12
TEXT: Final = 26
STAR: Final = Scene(shape="star", colour="blue", background="mint", variation=7)
CROSS: Final = Scene(shape="cross", colour="orange", texture="plain", background="white", size="small", variation=3)
EDITS: Final = {  # the source, and one changed word each
    "colour": (STAR, {"colour": "red"}),
    "shape": (STAR, {"shape": "heart"}),
    "texture": (STAR, {"texture": "striped"}),
    "background": (STAR, {"background": "pink"}),
    "style": (STAR, {"style": "outlined"}),
    "size": (STAR, {"size": "small"}),
    "number": (CROSS, {"number": "three"}),
    "position": (CROSS, {"position": "left"}),
}
FIRST: Final = ("colour", "shape", "texture", "background", "style")
"""Edits of the picture of the README, all of one source, made together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="sd3.5", choices=("flux", "sd3", "sd3.5"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/gallery"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    editor = Editor(arguments.backbone, "flowedit", ["local-blend", "headrouter"], model="shapes", progress=False)
    for scene in (STAR, CROSS):
        kinds = [kind for kind, (source, _) in EDITS.items() if source is scene]
        targets = [replace(scene, **EDITS[kind][1]) for kind in kinds]  # type: ignore[arg-type]
        prompts = [caption(target, 0) for target in targets]
        result = editor.edit(render(scene), prompts, caption(scene, 0), preset="drawn-flow", seed=arguments.seed)
        readings = read(np.stack([np.asarray(image) for image in result.images]))
        for number, (kind, target) in enumerate(zip(kinds, targets, strict=True)):
            right = readings[number].attributes[kind] == getattr(target, kind)
            print(f"{kind}: {prompts[number]}: {'right' if right else 'not read as the target'}")
            save([strip(result, number, render(target))], arguments.out / f"{kind}.png")
        if scene is STAR:
            save([edits(result, kinds), parts(result, kinds.index("colour"))], arguments.out / "edits.png")


def strip(result: Result, number: int, truth: Image.Image) -> Image.Image:
    """Return a row of panels: source, edit, the true result, and where the edit acted."""
    return row(
        [
            ("source", result.source),
            ("edit", result.images[number]),
            ("true result", truth),
            *where(result, number),
        ]
    )


def edits(result: Result, kinds: list[str]) -> Image.Image:
    """Return a row of the source and its first edits, each under the words that were changed."""
    chosen = [kinds.index(kind) for kind in FIRST]
    return row([("source", result.source), *((words(result, number), result.images[number]) for number in chosen)])


def parts(result: Result, number: int) -> Image.Image:
    """Return a row of what else one edit has: reconstruction, map, mask, difference and head weights."""
    title = f"“{words(result, number)}”: changed pixels"
    pixels = changed(result.source, result.images[number])
    return row([("source, reconstructed", result.reconstruction), (title, pixels), *where(result, number)])


def where(result: Result, number: int) -> list[tuple[str, Image.Image]]:
    """Return the panels that show where an edit acted: the map of the new word, the mask, and the head weights."""
    word = result.prompts[number].new_words(result.source_prompt)[0]
    grid = result.text_map(word, number).numpy()
    weights = np.nanmean(result.head_weights[number].numpy(), axis=0)
    span = weights - weights.min()
    return [
        (f"map of “{word}”", coloured(grid / grid.max(), "magma")),
        ("mask", result.mask(number).convert("RGB")),
        ("head weights", coloured(span / max(span.max(), 1e-9), "viridis")),
    ]


def words(result: Result, number: int) -> str:
    """Return the words of an edit that its source does not have."""
    return " ".join(result.prompts[number].new_words(result.source_prompt))


def changed(source: Image.Image, image: Image.Image, times: float = 1) -> Image.Image:
    """Return the largest difference of the channels at each pixel, in colours, so many times as large."""
    difference = np.abs(np.asarray(image, dtype=float) - np.asarray(source, dtype=float)).max(2)
    return coloured(np.clip(times * difference / 255, 0, 1), "magma")


def coloured(values: np.ndarray, colours: str) -> Image.Image:
    """Return values from 0 to 1 in the colours of a map."""
    return Image.fromarray((colormaps[colours](values)[..., :3] * 255).astype(np.uint8))


def row(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    """Return panels side by side under their titles, enlarged without smoothing."""
    canvas = Image.new("RGB", (len(panels) * (SIDE + GAP) + GAP, SIDE + TEXT + 2 * GAP), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 17)
    for place, (title, picture) in enumerate(panels):
        left = GAP + place * (SIDE + GAP)
        draw.text((left, GAP // 2), title, fill="#222222", font=font)
        canvas.paste(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST), (left, TEXT + GAP // 2))
        draw.rectangle((left - 1, TEXT + GAP // 2 - 1, left + SIDE, TEXT + GAP // 2 + SIDE), outline="#cccccc")
    return canvas


def save(rows: list[Image.Image], path: Path) -> None:
    """Write rows above each other, in 256 colours."""
    canvas = Image.new("RGB", (max(each.width for each in rows), sum(each.height for each in rows)), "white")
    top = 0
    for each in rows:
        canvas.paste(each, (0, top))
        top += each.height
    canvas.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
