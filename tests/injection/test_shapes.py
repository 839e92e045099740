"""On the bundled models, where the right answer is drawn: injection keeps the shape, local blending the background.

Measured on eight edits of a colour, on `sd3.5`, `sd3` and `flux`. Overlap with the true object: plain .77, .75, .77, with injection
.90, .85, .88. Squared error of the background on `euler`, with local blending over without: 1.0 over 10.2, 5.0 over 25.1, 1.6 over
17.2. Decibels that blending gains on `rf` with a held source: by words 3.2, 3.4, 1.7, by difference 3.6, 4.1, 2.2.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.rf import RFInversion
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.render import changed_region, mask, render
from headrouter_shapes.world.scene import Scene, edit, sample_scene
from PIL import Image

from headrouter import Editor
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone

BACKBONES = ("sd3.5", "sd3", "flux")
PAIRS, STEPS, GUIDANCE = 8, 8, 5.0
VARIANTS: dict[str, list[Method]] = {
    "plain": [],
    "injection": [Injection(tau=0.4)],
    "local-blend": [LocalBlend(blend=1.0)],
}


def scenes() -> Iterator[tuple[Scene, Scene]]:
    """Held-out scenes, and the same in another colour."""
    generator = np.random.default_rng(0)
    for _ in range(PAIRS):
        scene = replace(sample_scene(generator, held_out=True), number="one", style="filled", texture="plain")
        yield scene, edit(scene, "colour", generator)


def overlap(picture: Image.Image, target: Scene) -> float:
    """Intersection over union of what differs from the background and the drawn object."""
    pixels, truth = np.asarray(picture).astype(float), mask(target) > 0.5
    found = np.abs(pixels - np.asarray(render(target)).astype(float)[0, 0]).max(axis=-1) > 40
    return float((found & truth).sum() / (found | truth).sum())


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Editor(request.param, model="shapes", progress=False).backbone


@pytest.fixture(scope="module")
def figures(backbone: Backbone) -> dict[str, np.ndarray[Any, Any]]:
    """For each variant and pair: overlap with the drawn object, mean squared error away from the changed region.

    A mask is made on 8 × 8 tokens, smoothed and widened, so it is larger than the object: what is 12 pixels away counts. The error
    is to the source's row, which is what blending keeps: how near that row is to the picture is the inversion's affair.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    for scene, target in scenes():
        outside, plain = ~changed_region(scene, target, margin=12), Editor(backbone, "euler", None, progress=False)
        kept = plain.invert(render(scene), caption(scene), steps=STEPS)
        asked = {
            "source_prompt": caption(scene),
            "steps": STEPS,
            "start": kept,
            "maps": False,
            "guidance": GUIDANCE,
        }
        source = np.asarray(plain.edit(render(scene), caption(scene), **asked).image).astype(float)
        for name, methods in VARIANTS.items():
            image = (
                Editor(backbone, "euler", methods, progress=False).edit(render(scene), caption(target), **asked).image
            )
            error = np.asarray(image).astype(float)[outside] - source[outside]
            found[name].append((overlap(image, target), float((error**2).mean())))
    return {name: np.array(rows) for name, rows in found.items()}


def test_injection_keeps_the_shape(figures: dict[str, np.ndarray[Any, Any]]) -> None:
    steered, plain = (figures[name][:, 0].mean() for name in ("injection", "plain"))
    assert steered > plain + 0.05, (steered, plain)


def test_local_blending_keeps_the_background(figures: dict[str, np.ndarray[Any, Any]]) -> None:
    steered, plain = (figures[name][:, 1].mean() for name in ("local-blend", "plain"))
    assert steered < 0.5 * plain, (steered, plain)


@pytest.fixture(scope="module")
def backgrounds(backbone: Backbone) -> dict[str, np.ndarray[Any, Any]]:
    """PSNR to the picture outside the region that the right edit changes, of each pair, on `rf` with the source held."""
    held = RFInversion(eta=1.0, stop=4, hold_source=True)
    variants: dict[str, list[Method]] = {
        "plain": [],
        "words": [LocalBlend(blend=1.0)],
        "difference": [LocalBlend(blend=1.0, mask="attention")],
    }
    found: dict[str, list[float]] = {name: [] for name in variants}
    for scene, target in scenes():
        outside, drawn = ~changed_region(scene, target), np.asarray(render(scene)).astype(float)
        asked = {"source_prompt": caption(scene), "steps": 10, "maps": False, "guidance": GUIDANCE}
        for name, methods in variants.items():
            image = Editor(backbone, held, methods, progress=False).edit(render(scene), caption(target), **asked).image
            error = np.asarray(image).astype(float)[outside] - drawn[outside]
            found[name].append(float(10 * np.log10(255**2 / (error**2).mean())))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("mask_from", ["words", "difference"])
def test_local_blending_on_a_held_source_keeps_the_picture(
    backgrounds: dict[str, np.ndarray[Any, Any]], mask_from: str
) -> None:
    gain = backgrounds[mask_from] - backgrounds["plain"]
    assert gain.mean() > 1.2, gain
