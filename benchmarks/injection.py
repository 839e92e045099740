"""Injection and local blending on the bundled drawn world, where the right answer is known pixel by pixel.

    python benchmarks/injection.py edits --pairs 20      which methods keep shape and background
    python benchmarks/injection.py sheet injection.png   what they look like

Pictures are held-out scenes with one filled object. The same arguments give the same table.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_shapes.caption import caption
from headrouter_shapes.oracle import read
from headrouter_shapes.render import changed_region, render
from headrouter_shapes.scene import Scene, edit, sample_scene
from PIL import Image, ImageDraw

from headrouter import Editor
from headrouter.backbone import Backbone
from headrouter.method import Method
from headrouter.picture import save_picture
from headrouter.result import Result

VARIANTS: dict[str, list[Method]] = {
    "none": [],
    "injection": [Injection()],
    "local-blend": [LocalBlend()],
    "injection, local-blend": [Injection(), LocalBlend()],
    "injection longer": [Injection(tau=0.4)],
    "local-blend to the end": [LocalBlend(blend=1.0)],
}
FIRST = tuple(VARIANTS)[:4]
"""Those with the published constants."""


def scenes(count: int, seed: int) -> Iterator[tuple[Scene, np.random.Generator]]:
    """Held-out scenes, and a generator for what is done with them."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield replace(sample_scene(generator, held_out=True), number="one", style="filled"), generator


def edited(
    scene: Scene, target: Scene, backbone: Backbone, arguments: argparse.Namespace
) -> Iterator[tuple[str, Result]]:
    """The edit from one scene to another with each variant, all from one inversion."""
    picture, asked = render(scene), {"steps": arguments.steps, "seed": arguments.seed}
    tool = Editor(backbone, arguments.inversion, None, progress=False)
    kept = tool.invert(picture, caption(scene), **asked) if tool.inversion.inverts else None
    for name in arguments.methods:
        methods = VARIANTS[name]
        editor = Editor(backbone, arguments.inversion, methods, progress=False)
        yield name, editor.edit(picture, caption(target), caption(scene), inversion=kept, maps=False, **asked)


def edits(arguments: argparse.Namespace) -> None:
    """What the world's oracle reads in the edits, and how far the background moved."""
    backbone = Editor(arguments.backbone, model="shapes", progress=False).backbone
    table: dict[str, list[tuple[float, ...]]] = {name: [] for name in arguments.methods}
    for scene, generator in scenes(arguments.pairs, arguments.seed):
        target = edit(scene, arguments.semantic, generator)
        outside = ~changed_region(scene, target)
        for name, result in edited(scene, target, backbone, arguments):
            found = read(np.asarray(result.image)[None])[0].attributes
            same = found["shape"] == target.shape, found[arguments.semantic] == getattr(target, arguments.semantic)
            inside = float(np.mean(np.asarray(result.mask()) > 0)) if result.has_mask() else 1.0
            table[name].append((*same, _psnr(result.image, result.source, outside), inside))
    print(f"{arguments.pairs} edits of {arguments.semantic}, {arguments.inversion}, {arguments.steps} steps")
    print(
        "| methods | shape right | edit right | background, dB | better than the first | mask |\n|---|---|---|---|---|---|"
    )
    first = np.array(next(iter(table.values())))[:, 2]
    for name, rows in table.items():
        shape, right, decibels, inside = np.array(rows, dtype=float).T
        better = np.mean(decibels > first)
        print(
            f"| {name} | {shape.mean():.0%} | {right.mean():.0%} | {decibels.mean():.1f} | {better:.0%} | {inside.mean():.0%} |"
        )


def _psnr(first: Image.Image, second: Image.Image, where: np.ndarray[Any, Any]) -> float:
    a, b = (np.asarray(picture, dtype=np.float64)[where] for picture in (first, second))
    return float(10 * np.log10(255**2 / max(float(np.mean((a - b) ** 2)), 1e-9)))


def sheet(arguments: argparse.Namespace) -> None:
    """Source, the drawing that the edit should be, each variant, and the last one's mask; a row for each scene."""
    backbone = Editor(arguments.backbone, model="shapes", progress=False).backbone
    rows = []
    for scene, generator in scenes(arguments.pairs, arguments.seed):
        target = edit(scene, arguments.semantic, generator)
        results = dict(edited(scene, target, backbone, arguments))
        last = list(results.values())[-1]
        rows.append([last.source, render(target), *(result.image for result in results.values()), last.mask()])
    titles = ["source", "right answer", *arguments.methods, "mask"]
    side, gap, head = 96, 6, 16
    picture = Image.new("RGB", (len(titles) * (side + gap) + gap, len(rows) * (side + gap) + head + gap), "white")
    draw = ImageDraw.Draw(picture)
    for column, title in enumerate(titles):
        draw.text((gap + column * (side + gap), 3), title.replace("injection, local-blend", "both"), fill="black")
        for place, row in enumerate(rows):
            one = row[column].convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            picture.paste(one, (gap + column * (side + gap), head + place * (side + gap)))
    save_picture(picture, arguments.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("edits", edits), ("sheet", sheet)):
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        command.add_argument("--seed", type=int, default=0)
        if name == "sheet":
            command.add_argument("path")
        command.add_argument("--backbone", default="sd3.5", choices=("flux", "sd3", "sd3.5"))
        command.add_argument("--pairs", type=int, default=24 if name == "edits" else 4)
        command.add_argument("--semantic", default="colour")
        command.add_argument("--inversion", default="euler")
        command.add_argument(
            "--methods", nargs="+", choices=VARIANTS, default=FIRST, help="the last one's mask is drawn"
        )
        command.add_argument("--steps", type=int, default=14)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
