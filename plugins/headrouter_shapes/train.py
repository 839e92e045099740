"""Train the autoencoder, then text encoders and transformer together (``python -m headrouter_shapes.train``).

Everything goes to ``--out``: ``vae/``, the finished pipelines (``flux/``, ``flux-kontext/`` …) in bfloat16, checkpoints
``<model>.checkpoint`` and sample sheets ``<model>-<pictures>.png``. A run that is started again continues from its
checkpoint; the same seed gives the same weights on the same machine, interrupted or not. One run at a time in a folder.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import AutoencoderKL
from headrouter_diffusers.components.placement import resolve_device
from headrouter_flux.parameters import FluxParameters
from tqdm import tqdm

from headrouter.errors import InvalidInputError
from headrouter.files import refuse_occupied
from headrouter.imaging.picture import output_folder
from headrouter_shapes.claim import claimed
from headrouter_shapes.command import exit_code
from headrouter_shapes.files import finish, load_tensors, replacing, save_tensors
from headrouter_shapes.pipelines.autoencoder import build_autoencoder, set_latent_scale
from headrouter_shapes.pipelines.build import INSTRUCTED, build_pipeline
from headrouter_shapes.pipelines.folder import load_autoencoder, load_pipeline, save_pipeline
from headrouter_shapes.training import attention
from headrouter_shapes.training.autoencoder import AutoencoderTraining
from headrouter_shapes.training.flow import FlowTraining, Recipe
from headrouter_shapes.training.latents import latent_pool
from headrouter_shapes.training.options import recipes_of, training_parser
from headrouter_shapes.training.sheets import edit_sheet, sample_sheet
from headrouter_shapes.training.transplant import start_from
from headrouter_shapes.world.instruction import training_changes
from headrouter_shapes.world.pool import training_scenes


def run_autoencoder(arguments: argparse.Namespace, device: torch.device) -> AutoencoderKL:
    """Train the autoencoder, or take the one that ``--vae`` names or ``--out`` already has."""
    folder, checkpoint = arguments.out / "vae", arguments.out / "vae.checkpoint"
    if arguments.vae is not None:
        return load_autoencoder(arguments.vae).to(device)
    if (folder / "config.json").is_file():
        return load_autoencoder(folder).to(device)
    _refuse_foreign(folder, "config.json")
    refuse_occupied(checkpoint)
    torch.manual_seed(arguments.seed)
    training = AutoencoderTraining(
        build_autoencoder().to(device), seed=arguments.seed, steps=arguments.vae_steps, workers=arguments.workers
    )
    if checkpoint.exists():
        training.load_state_dict(load_tensors(checkpoint))
    _run(training, training.steps, "vae", arguments.save_every, lambda: save_tensors(training.state_dict(), checkpoint))
    set_latent_scale(training.autoencoder, seed=arguments.seed)
    with replacing(folder) as place:
        training.autoencoder.save_pretrained(place)
    return training.autoencoder


def run_model(recipe: Recipe, autoencoder: AutoencoderKL, arguments: argparse.Namespace, device: torch.device) -> None:
    """Train one pipeline, or continue to, and write its folder."""
    backbone = recipe.backbone
    checkpoint = arguments.out / f"{backbone}.checkpoint"
    _refuse_foreign(arguments.out / backbone, "model_index.json")
    refuse_occupied(checkpoint)
    pipeline = build_pipeline(backbone, autoencoder, recipe.seed)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.eval().requires_grad_(False)
    if arguments.start_from is not None:
        start_from(load_pipeline(arguments.start_from), pipeline)
    latents = latent_pool(pipeline, recipe, arguments.out, device, arguments.workers)
    examples = (training_changes if backbone == INSTRUCTED else training_scenes)(recipe.seed, 0, recipe.pool)
    training = FlowTraining(pipeline, recipe, examples, latents, device, arguments.workers)
    if arguments.compile:
        for name, block in pipeline.transformer.named_modules():
            if name.startswith(("transformer_blocks.", "single_transformer_blocks.")) and name.count(".") == 1:
                block.compile()

    def sheet() -> Path:
        return Path(arguments.out, f"{backbone}-{training.step * recipe.batch:07d}.png")

    def show() -> None:
        training.parts.eval()
        training.swap_average()
        save_pipeline(pipeline, arguments.out / backbone)
        with torch.compiler.set_stance("force_eager"):
            draw_sheet = edit_sheet if backbone == INSTRUCTED else sample_sheet
            draw_sheet(pipeline, sheet(), recipe.seed, arguments.sheet)
        training.swap_average()
        training.parts.train()

    def save() -> None:
        save_tensors(training.state_dict(), checkpoint)
        show()

    if checkpoint.exists():
        begun_with = (
            () if arguments.start_from is not None else ("start",)
        )  # weights to start from need not be given again
        training.load_state_dict(load_tensors(checkpoint), ("pictures", *begun_with))
        if not sheet().exists():  # killed before it came to show what it had saved
            show()
    _run(training, recipe.steps, backbone, arguments.save_every, save)


def _run(
    training: AutoencoderTraining | FlowTraining, steps: int, name: str, save_every: float, save: Callable[[], None]
) -> None:
    """Advance to the last step with a progress bar; save every ``save_every`` seconds and, always, at the end.

    A run that was killed behind its last step has a checkpoint and may lack the rest, so it saves again.
    """
    if not 0 <= training.step <= steps:
        raise InvalidInputError(
            f"the checkpoint of {name} is at step {training.step} of {steps}. Ask for at least as many `--pictures` as "
            "before, or start with another `--out`."
        )
    saved, smooth = time.monotonic(), None
    with tqdm(total=steps, initial=training.step, desc=name, unit="step", mininterval=10.0) as bar:
        while training.step < steps:
            loss = training.advance()
            smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
            bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            bar.update()
            if training.step < steps and time.monotonic() - saved > save_every:
                save()
                saved = time.monotonic()
    save()


def _refuse_foreign(folder: Path, sign: str) -> None:
    """Refuse to train what would, when it is written, replace something else than an earlier result."""
    there = folder.is_symlink() or folder.exists()
    if there and not (folder / sign).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InvalidInputError(
            f"'{folder}' is in the way: results go there, and it has no {sign}. Move it away, or choose another `--out`."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    return exit_code(_train, training_parser(__doc__).parse_args(arguments))


def _train(chosen: argparse.Namespace) -> None:
    recipes = recipes_of(chosen)
    device = resolve_device(FluxParameters(device=chosen.device))
    if chosen.workers > 1:
        torch.set_num_threads(1)
    with output_folder(chosen.out), claimed(chosen.out):
        finish(chosen.out)
        autoencoder = run_autoencoder(chosen, device)
        with attention.everywhere() if device.type == "cpu" else contextlib.nullcontext():
            for recipe in recipes:
                run_model(recipe, autoencoder, chosen, device)


if __name__ == "__main__":
    sys.exit(main())
