"""Draw the pictures of the how-to pages, by the edits that the pages name, on bundled models.

python -m benchmarks.howto --out docs/images/howto
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

from headrouter_blending.method import LocalBlend
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.render import render
from headrouter_shapes.world.scene import Scene
from PIL import Image

from benchmarks.gallery import STAR, changed, row, save
from headrouter import Editor

HEART: Final = replace(STAR, shape="heart")
TWO: Final = replace(STAR, number="two", size="small")
Panels = list[tuple[str, Image.Image]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/howto"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, panels in (("keep", keep), ("show", show), ("own-mask", own_mask), ("models", models)):
        save([row(each) for each in panels()], arguments.out / f"{name}.png")


def keep() -> list[Panels]:
    """Return the same edit without and with local blending, and the pixels that each changed."""
    plain = edited(editor("sd3.5", "rf", "headrouter"), HEART, preset="drawn")
    kept = edited(editor("sd3.5", "rf", ["local-blend", "headrouter"]), HEART, preset="drawn-kept")
    source = render(STAR)
    return [
        [
            ("source", source),
            ("preset drawn", plain),
            ("changed pixels × 8", changed(source, plain, times=8)),
            ("preset drawn-kept", kept),
            ("changed pixels × 8", changed(source, kept, times=8)),
        ]
    ]


def show() -> list[Panels]:
    """Return an edit with the source released later and earlier, by ``rf`` and by ``flowedit``."""
    released = [
        (f"rf, stop={stop}", edited(editor("sd3.5", RFInversion(eta=1.0, stop=stop), None), HEART, guidance=3.0))
        for stop in (26, 20, 16, 12)
    ]
    shares = [
        (
            f"flowedit, last_steps={share}",
            edited(editor("sd3.5", FlowEdit(last_steps=share), None), HEART, guidance=3.0),
        )
        for share in (0.2, 0.4, 0.6, 0.8)
    ]
    return [[("source", render(STAR)), *released], [("source", render(STAR)), *shares]]


def own_mask() -> list[Panels]:
    """Return an edit of two objects, and the same where a mask admits one of them."""
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    red = replace(TWO, colour="red")
    free = edited(editor("sd3.5", "flowedit", None), red, TWO, guidance=3.0)
    blended = editor("sd3.5", "flowedit", LocalBlend(blend=1.0))
    half = edited(blended, red, TWO, guidance=3.0, mask=mask, paste=True)
    panels = [("source", render(TWO)), ("without a mask", free), ("mask: white may change", mask), ("with it", half)]
    return [[*panels, ("changed pixels", changed(render(TWO), half))]]


def models() -> list[Panels]:
    """Return one edit on the three bundled models."""
    panels = [(name, edited(editor(name, "flowedit", None), HEART, guidance=3.0)) for name in ("sd3.5", "sd3", "flux")]
    return [[("source", render(STAR)), *panels]]


def editor(backbone: str, inversion: object, method: object) -> Editor:
    """Return an editor on a bundled model, without progress bars."""
    return Editor(backbone, inversion, method, model="shapes", progress=False)  # type: ignore[arg-type]


def edited(by: Editor, target: Scene, source: Scene = STAR, **options: object) -> Image.Image:
    """Return the edit of one scene into another, in 28 steps from seed 0."""
    settings = {"steps": 28, "seed": 0, **options}
    return by.edit(render(source), caption(target, 0), caption(source, 0), **settings).image  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
