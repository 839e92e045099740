"""What injection and local blending look like on drawings whose right edit is known.

    python benchmarks/injection.py injection.png

Pictures are held-out scenes with one object. What the methods are worth is measured by
`headrouter bench shapes --config injection` and `--config blending`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.render import render
from headrouter_shapes.world.scene import Scene, edit, sample_scene
from PIL import Image, ImageDraw

from headrouter import Editor
from headrouter.imaging.picture import save_picture
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method
from headrouter.sampling.inversion import Inversion

STEPS, RELEASE = 28, 12
_RF = RFInversion(eta=1.0, stop=RELEASE, hold_source=True)
_BLEND = LocalBlend(mask="attention", blend=1.0)
VARIANTS: dict[str, tuple[Inversion, list[Method]]] = {
    "euler": (Euler(), []),
    "+ injection": (Euler(), [Injection(tau=0.4)]),
    "+ local blend": (Euler(), [LocalBlend(blend=1.0)]),
    "+ both": (Euler(), [Injection(tau=0.4), LocalBlend(blend=1.0)]),
    "rf, held": (_RF, []),
    "+ by words": (_RF, [LocalBlend(blend=1.0)]),
    "+ by difference": (_RF, [_BLEND]),
    "+ HeadRouter": (_RF, [_BLEND, HeadRouter(gamma=0.3, start=RELEASE, stop=RELEASE + 4, image_tokens="off")]),
}
SIDE, GAP, HEAD = 96, 6, 16


def scenes(count: int, semantic: str, seed: int) -> Iterator[tuple[Scene, Scene]]:
    """Held-out scenes with one filled object, and what the edit should make of them."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        scene = replace(sample_scene(generator, held_out=True), number="one", style="filled")
        yield scene, edit(scene, semantic, generator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="picture to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone", default="sd3.5", choices=("flux", "sd3", "sd3.5"))
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--semantic", default="colour")
    arguments = parser.parse_args()
    backbone = Editor(arguments.backbone, model="shapes", progress=False).backbone
    rows = []
    for scene, target in scenes(arguments.pairs, arguments.semantic, arguments.seed):
        asked = {"source_prompt": caption(scene), "steps": STEPS, "seed": arguments.seed, "maps": False}
        results = [
            Editor(backbone, *variant, progress=False).edit(render(scene), caption(target), **asked)
            for variant in VARIANTS.values()
        ]
        rows.append([results[0].source, render(target), *(result.image for result in results), results[-1].mask()])
    titles = ["source", "right answer", *VARIANTS, "its mask"]
    size = (len(titles) * (SIDE + GAP) + GAP, len(rows) * (SIDE + GAP) + HEAD + GAP)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for column, title in enumerate(titles):
        draw.text((GAP + column * (SIDE + GAP), 3), title, fill="black")
        for place, row in enumerate(rows):
            one = row[column].convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
            picture.paste(one, (GAP + column * (SIDE + GAP), HEAD + place * (SIDE + GAP)))
    save_picture(picture, arguments.path)


if __name__ == "__main__":
    main()
