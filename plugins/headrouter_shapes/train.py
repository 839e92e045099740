"""Train the autoencoder, then text encoders and transformer together (``python -m headrouter_shapes.train``).

Everything goes to ``--out``: ``vae/``, the finished pipelines (``flux/``, ``flux-kontext/`` …) in bfloat16, checkpoints
``<model>.checkpoint`` and sample sheets ``<model>-<pictures>.png``. A run that is started again continues from its
checkpoint; the same seed gives the same weights on the same machine, interrupted or not. One run at a time in a folder.
"""

import argparse
import contextlib
import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import headrouter_diffusers.quiet  # noqa: F401
import numpy as np
import torch
from diffusers import AutoencoderKL, FluxKontextPipeline, FluxPipeline
from headrouter_diffusers.components.placement import resolve_device
from headrouter_flux.parameters import FluxParameters
from tqdm import tqdm

from headrouter.cli.options import refuse_below_one
from headrouter.errors import InvalidInputError, WeightsError
from headrouter.files import refuse_occupied
from headrouter.imaging.picture import output_folder
from headrouter_shapes.claim import claimed
from headrouter_shapes.command import exit_code
from headrouter_shapes.files import finish, load_tensors, replacing, save_tensors
from headrouter_shapes.pipelines.autoencoder import DOWNSAMPLING, LATENT_CHANNELS, build_autoencoder, set_latent_scale
from headrouter_shapes.pipelines.build import BACKBONES, INSTRUCTED, ShapesPipeline, build_pipeline
from headrouter_shapes.pipelines.folder import load_autoencoder, load_pipeline, save_pipeline
from headrouter_shapes.pipelines.sampling import decode_latents, encode_pictures, integrate, starting_noise
from headrouter_shapes.training import attention
from headrouter_shapes.training.autoencoder import AutoencoderTraining
from headrouter_shapes.training.flow import FlowTraining, Recipe, trained_parts
from headrouter_shapes.training.parallel import slices_of
from headrouter_shapes.training.state import misfit
from headrouter_shapes.training.transplant import transplant, with_more_words
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.drawing import PICTURE_SIZE
from headrouter_shapes.world.instruction import Change, instruction, training_changes
from headrouter_shapes.world.pool import draw, to_pictures, to_tensor, training_scenes
from headrouter_shapes.world.render import render_array
from headrouter_shapes.world.scene import edit, sample_scene
from headrouter_shapes.world.sheet import save_sheet
from headrouter_shapes.world.vocabulary import SEMANTICS

SHEET_GUIDANCE: Final = 3.0
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


def _recipe(backbone: str, arguments: argparse.Namespace) -> Recipe:
    """Return the recipe of one pipeline; refuses what cannot be trained before anything is."""
    slices_of(arguments.batch, arguments.workers)
    recipe = Recipe(
        backbone,
        seed=arguments.seed,
        pictures=arguments.pictures,
        batch=arguments.batch,
        pool=arguments.pool,
        muon_rate=arguments.muon_rate,
        adam_rate=arguments.adam_rate,
        float32=arguments.float32,
        emphasis=dict(arguments.emphasis),
    )
    if recipe.steps < 1:
        raise InvalidInputError(f"`--pictures` must fill a batch of {recipe.batch}; got {recipe.pictures}.")
    return recipe


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


def start_from(released: ShapesPipeline, fresh: ShapesPipeline) -> None:
    """Copy the weights of a released pipeline, or of a sibling what both have, into a fresh one.

    A Flux pipeline of captions starts one of instructions: all its weights, and the embeddings of the words that it knows.

    Raises:
        WeightsError: a pipeline that ``fresh`` can use nothing of; nothing is copied.
    """
    theirs, ours = trained_parts(released), trained_parts(fresh)

    def sizes(parts: Mapping[str, torch.nn.Module]) -> dict[tuple[str, str], torch.Size]:
        return {(name, key): w.shape for name, part in parts.items() for key, w in part.state_dict().items()}

    if sizes(theirs) == sizes(ours):
        for name, part in ours.items():
            part.load_state_dict(theirs[name].state_dict())
    elif isinstance(fresh, FluxKontextPipeline) and isinstance(released, FluxPipeline):
        with_more_words(released, fresh)
    else:
        print(f"started from a sibling: {transplant(released, fresh):.0%} of the weights", file=sys.stderr)


def _emphasis(text: str) -> tuple[str, float]:
    kind, _, times = text.partition("=")
    try:
        return kind, float(times)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be KIND=TIMES, as in shape=3; got {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headrouter_shapes.train", description=__doc__)
    parser.add_argument(
        "--model",
        choices=(*BACKBONES, INSTRUCTED, "vae", "all"),
        required=True,
        help="what to train; the VAE comes first",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for everything the run writes")
    parser.add_argument("--vae", type=Path, help="folder of a trained VAE or of a pipeline that has one")
    parser.add_argument("--start-from", type=Path, help="folder of a released pipeline whose weights to start from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=400_000, help="pictures that a model sees in all")
    parser.add_argument("--batch", type=int, default=64, help="pictures in a step")
    parser.add_argument("--pool", type=int, default=60_000, help="different pictures to draw")
    parser.add_argument("--muon-rate", type=float, default=0.01, help="highest learning rate of Muon")
    parser.add_argument("--adam-rate", type=float, default=1e-3, help="highest learning rate of AdamW")
    parser.add_argument("--float32", action="store_true", help="multiply in float32: faster on a CPU without AMX")
    parser.add_argument(
        "--emphasis",
        type=_emphasis,
        nargs="+",
        default=(),
        metavar="KIND=TIMES",
        help="see a kind of change so many times as often as the others (flux-kontext)",
    )
    parser.add_argument("--vae-steps", type=int, default=3000, help="steps of the VAE, 48 pictures each")
    parser.add_argument("--save-every", type=float, default=300.0, help="seconds between checkpoints")
    parser.add_argument("--sheet", type=int, default=32, help="pictures of a sample sheet, made with each checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="compile the blocks: slow to start, then fast")
    parser.add_argument("--workers", type=int, default=1, help="CPU threads that share a batch; 1 on a GPU")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    return exit_code(_train, _parser().parse_args(arguments))


def _train(chosen: argparse.Namespace) -> None:
    refuse_below_one(chosen, "pictures", "batch", "pool", "sheet", "vae_steps", "workers")
    if not chosen.save_every >= 0:
        raise InvalidInputError(f"`--save-every` must be a number of seconds from 0 on; got {chosen.save_every}.")
    device = resolve_device(FluxParameters(device=chosen.device))
    models = BACKBONES if chosen.model == "all" else {chosen.model} & {*BACKBONES, INSTRUCTED}
    recipes = [_recipe(model, chosen) for model in models]
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
