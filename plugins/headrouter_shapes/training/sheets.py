"""Draw sheets of what a pipeline in training makes of held-out drawings, each above what it should be."""

from pathlib import Path
from typing import Final

import numpy as np

from headrouter_shapes.pipelines.build import ShapesPipeline
from headrouter_shapes.pipelines.sampling import decode_latents, encode_pictures, integrate, starting_noise
from headrouter_shapes.training.latents import draw_changes
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.instruction import Change, instruction
from headrouter_shapes.world.pool import to_pictures
from headrouter_shapes.world.render import render_array
from headrouter_shapes.world.scene import edit, sample_scene
from headrouter_shapes.world.sheet import save_sheet
from headrouter_shapes.world.vocabulary import SEMANTICS

SHEET_GUIDANCE: Final = 3.0


def edit_sheet(pipeline: ShapesPipeline, path: Path, seed: int, count: int) -> None:
    """Edit held-out drawings by instructions and save source, edit, and the drawing that it should be, above each other."""
    generator, kinds = np.random.default_rng((seed, 1)), tuple(SEMANTICS)
    scenes = [sample_scene(generator, held_out=True) for _ in range(count)]
    changes = [Change(one, edit(one, kinds[number % len(kinds)], generator)) for number, one in enumerate(scenes)]
    prompts = [instruction(change, number) for number, change in enumerate(changes)]
    device = pipeline.transformer.device
    before, after = draw_changes(changes)
    noise, reference = starting_noise(seed, count).to(device), encode_pictures(pipeline, before.to(device))
    made = decode_latents(pipeline, integrate(pipeline, noise, prompts, guidance=SHEET_GUIDANCE, reference=reference))
    columns, drawn = 16, [to_pictures(one) for one in (before, made, after)]
    rows = [batch[start : start + columns] for start in range(0, count, columns) for batch in drawn]
    save_sheet(np.concatenate(rows), path, columns)


def sample_sheet(pipeline: ShapesPipeline, path: Path, seed: int, count: int) -> None:
    """Generate pictures of held-out captions and save them, each above the rendering it should resemble."""
    generator = np.random.default_rng((seed, 1))
    scenes = [sample_scene(generator, held_out=True) for _ in range(count)]
    prompts = [caption(scene, number % 4) for number, scene in enumerate(scenes)]
    noise = starting_noise(seed, count).to(pipeline.transformer.device)
    latents = integrate(pipeline, noise, prompts, guidance=SHEET_GUIDANCE)
    made, wanted = to_pictures(decode_latents(pipeline, latents)), render_array(scenes)
    columns = 16
    rows = [batch[start : start + columns] for start in range(0, count, columns) for batch in (made, wanted)]
    save_sheet(np.concatenate(rows), path, columns)
