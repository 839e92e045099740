"""Read the options of a training, and refuse what cannot be trained before anything is."""

import argparse
from pathlib import Path

import torch

from headrouter.cli.options import refuse_below_one
from headrouter.errors import InvalidInputError
from headrouter_shapes.pipelines.build import BACKBONES, INSTRUCTED
from headrouter_shapes.training.flow import Recipe
from headrouter_shapes.training.parallel import slices_of


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m headrouter_shapes.train", description=description)
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


def recipes_of(arguments: argparse.Namespace) -> list[Recipe]:
    """Return the recipe of each pipeline that is asked for, none where it is the autoencoder alone.

    Raises:
        InvalidInputError: a number that cannot be.
    """
    refuse_below_one(arguments, "pictures", "batch", "pool", "sheet", "vae_steps", "workers")
    if not arguments.save_every >= 0:
        raise InvalidInputError(f"`--save-every` must be a number of seconds from 0 on; got {arguments.save_every}.")
    models = BACKBONES if arguments.model == "all" else {arguments.model} & {*BACKBONES, INSTRUCTED}
    return [_recipe(model, arguments) for model in models]


def _recipe(backbone: str, arguments: argparse.Namespace) -> Recipe:
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


def _emphasis(text: str) -> tuple[str, float]:
    kind, _, times = text.partition("=")
    try:
        return kind, float(times)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be KIND=TIMES, as in shape=3; got {text!r}") from None
