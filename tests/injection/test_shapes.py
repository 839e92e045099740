"""On the bundled models, where the right answer is drawn: injection keeps the shape, local blending the background.

Measured on eight edits of a colour, on `sd3.5`, `sd3` and `flux`. Overlap with the true object: plain .77, .75, .77, with injection
.90, .85, .88. Squared error of the background on `euler`, with local blending over without: 1.0 over 10.2, 5.0 over 25.1, 1.6 over
17.2. Decibels that blending gains on `rf` with a held source: by words 3.2, 3.4, 1.7, by difference 3.6, 4.1, 2.2.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.render import changed_region, mask, render
from headrouter_shapes.world.scene import Scene, edit, sample_scene
from PIL import Image

from headrouter import Editor
from headrouter.editing.batch import Batch, StartLatents, Task
from headrouter.editing.tuning import Plan
from headrouter.imaging.picture import to_tensor
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.sampling.inversion import Inversion

BACKBONES = ("sd3.5", "sd3", "flux")
PAIRS, STEPS, GUIDANCE = 8, 8, 5.0
VARIANTS: dict[str, list[Method]] = {
    "plain": [],
    "injection": [Injection(tau=0.4)],
    "local-blend": [LocalBlend(blend=1.0)],
}


def scenes() -> list[tuple[Scene, Scene]]:
    """Held-out scenes, and the same in another colour."""
    generator, found = np.random.default_rng(0), []
    for _ in range(PAIRS):
        scene = replace(sample_scene(generator, held_out=True), number="one", style="filled", texture="plain")
        found.append((scene, edit(scene, "colour", generator)))
    return found


def pixels(picture: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture).astype(float)


def batch(
    backbone: Backbone, inversion: Inversion, methods: Sequence[Method], prompts: Sequence[str], steps: int
) -> Batch:
    """All scenes at once, each with a prompt of its own."""
    tasks = tuple(
        Task((prompt,), (0,), caption(scene), to_tensor(render(scene)))
        for prompt, (scene, _) in zip(prompts, scenes(), strict=True)
    )
    return Batch(backbone, Plan(inversion, tuple(methods), steps, GUIDANCE), tasks, (64, 64))


def edited(some: Batch, start: Sequence[StartLatents]) -> list[Image.Image]:
    return some.pictures(some.edit(start).latents)


def overlap(picture: Image.Image, target: Scene) -> float:
    """Intersection over union of what differs from the background and the drawn object."""
    truth = mask(target) > 0.5
    found = np.abs(pixels(picture) - pixels(render(target))[0, 0]).max(axis=-1) > 40
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
    pairs = scenes()
    captions, targets = [caption(scene) for scene, _ in pairs], [caption(target) for _, target in pairs]
    plain = batch(backbone, Euler(), [], captions, STEPS)
    start, _ = plain.invert()
    sources, found = edited(plain, start), {}
    for name, methods in VARIANTS.items():
        rows = []
        for image, source, (scene, target) in zip(
            edited(batch(backbone, Euler(), methods, targets, STEPS), start), sources, pairs, strict=True
        ):
            outside = ~changed_region(scene, target, margin=12)
            error = pixels(image)[outside] - pixels(source)[outside]
            rows.append((overlap(image, target), float((error**2).mean())))
        found[name] = np.array(rows)
    return found


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
    pairs, found = scenes(), {}
    targets = [caption(target) for _, target in pairs]
    start, _ = batch(backbone, held, [], targets, 10).invert()
    for name, methods in variants.items():
        values = []
        for image, (scene, target) in zip(
            edited(batch(backbone, held, methods, targets, 10), start), pairs, strict=True
        ):
            outside = ~changed_region(scene, target)
            error = pixels(image)[outside] - pixels(render(scene))[outside]
            values.append(float(10 * np.log10(255**2 / (error**2).mean())))
        found[name] = np.array(values)
    return found


@pytest.mark.parametrize("mask_from", ["words", "difference"])
def test_local_blending_on_a_held_source_keeps_the_picture(
    backgrounds: dict[str, np.ndarray[Any, Any]], mask_from: str
) -> None:
    gain = backgrounds[mask_from] - backgrounds["plain"]
    assert gain.mean() > 1.2, gain
