"""Draw the pictures that a pipeline is trained on, and keep their latents in a file."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import torch
from tqdm import tqdm

from headrouter.errors import WeightsError
from headrouter.files import refuse_occupied
from headrouter_shapes.files import load_tensors, save_tensors
from headrouter_shapes.pipelines.autoencoder import DOWNSAMPLING, LATENT_CHANNELS
from headrouter_shapes.pipelines.build import INSTRUCTED, ShapesPipeline
from headrouter_shapes.pipelines.sampling import encode_pictures
from headrouter_shapes.training.flow import Recipe
from headrouter_shapes.training.state import misfit
from headrouter_shapes.world.drawing import PICTURE_SIZE
from headrouter_shapes.world.instruction import Change, training_changes
from headrouter_shapes.world.pool import draw, to_tensor
from headrouter_shapes.world.render import render_array

_POOL_SLICE: Final = 128
_SAMPLE: Final = 8


def latent_pool(
    pipeline: ShapesPipeline, recipe: Recipe, folder: Path, device: torch.device, workers: int = 1
) -> torch.Tensor:
    """Return the scaled latents of the pool [N, 16, 16, 16] in bfloat16, from the cache in ``folder`` if there.

    Of a backbone of instructions [N, 32, 16, 16]: those of the drawing before each change, then those of the one after it.
    """
    changes = recipe.backbone == INSTRUCTED
    digest = hashlib.sha256(f"{recipe.seed} {recipe.pool}{' changes' * changes}".encode())
    digest.update(
        draw(recipe.seed, 0, min(_SAMPLE, recipe.pool)).numpy().tobytes()
    )  # other drawing code, other latents
    for weight in pipeline.vae.state_dict().values():
        digest.update(weight.detach().float().cpu().numpy().tobytes())
    path = folder / f"latents-{digest.hexdigest()[:12]}.checkpoint"
    refuse_occupied(path)
    if path.exists():
        side = PICTURE_SIZE // DOWNSAMPLING
        wanted = torch.empty(
            recipe.pool, LATENT_CHANNELS * (1 + changes), side, side, dtype=torch.bfloat16, device="meta"
        )
        cached = load_tensors(path)
        if difference := misfit({"latents": wanted}, cached):
            raise WeightsError(f"`{path}` must hold the latents of the drawings: {difference}. Delete it.")
        latents: torch.Tensor = cached["latents"]
        return latents

    def encode(start: int) -> torch.Tensor:
        count = min(_POOL_SLICE, recipe.pool - start)
        drawn = (
            draw_changes(training_changes(recipe.seed, start, count)) if changes else (draw(recipe.seed, start, count),)
        )
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            parts = [encode_pictures(pipeline, pictures.to(device)).to("cpu", torch.bfloat16) for pictures in drawn]
        return torch.cat(parts, dim=1)

    starts = range(0, recipe.pool, _POOL_SLICE)
    with ThreadPoolExecutor(workers) as threads:
        parts = list(tqdm(threads.map(encode, starts), total=len(starts), desc="drawing", mininterval=5.0))
    latents = torch.cat(parts)
    save_tensors({"latents": latents}, path)
    return latents


def draw_changes(changes: Sequence[Change]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the drawings before and after changes, each [B, 3, H, W] in [-1, 1]."""
    before, after = (render_array([getattr(one, name) for one in changes]) for name in ("source", "target"))
    return to_tensor(before), to_tensor(after)
