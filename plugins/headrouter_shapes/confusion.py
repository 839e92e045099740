"""Measure the oracle on true renderings after a round trip through the autoencoder (``python -m headrouter_shapes.confusion``)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import headrouter_diffusers.quiet  # noqa: F401
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from headrouter.cli.options import refuse_below_one
from headrouter_shapes.command import exit_code
from headrouter_shapes.pipelines.folder import load_autoencoder
from headrouter_shapes.weights import BUNDLED, model_path
from headrouter_shapes.world.oracle import Reading, read
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import render_array
from headrouter_shapes.world.scene import Scene, sample_scene
from headrouter_shapes.world.vocabulary import SEMANTICS


@torch.no_grad()
def round_trip(autoencoder: AutoencoderKL, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Encode pictures, uint8 [B, 64, 64, 3], and decode the means of their latents."""
    return to_pictures(autoencoder.decode(autoencoder.encode(to_tensor(pictures)).latent_dist.mean).sample)


def confusion(scenes: Sequence[Scene], readings: Sequence[Reading]) -> dict[str, npt.NDArray[np.intp]]:
    """Count by semantic how often each value (row) was read as each value (column)."""
    counts = {}
    for semantic, values in SEMANTICS.items():
        count = np.zeros((len(values), len(values)), dtype=np.intp)
        for scene, reading in zip(scenes, readings, strict=True):
            count[values.index(getattr(scene, semantic)), values.index(reading.attributes[semantic])] += 1
        counts[semantic] = count
    return counts


def confusion_table(counts: dict[str, npt.NDArray[np.intp]]) -> str:
    """Lay out counts as one Markdown table a semantic: rows are drawn, columns are read."""
    blocks = []
    for semantic, count in counts.items():
        values = SEMANTICS[semantic]
        share = np.trace(count) / count.sum()
        lines = [f"| {semantic}, {share:.2%} right | " + " | ".join(values) + " |", "| --- |" + " ---: |" * len(values)]
        lines += [f"| {value} | " + " | ".join(map(str, row)) + " |" for value, row in zip(values, count, strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    parser = argparse.ArgumentParser(prog="python -m headrouter_shapes.confusion", description=__doc__)
    parser.add_argument(
        "model", help=f"folder of a pipeline or of a VAE, or the name of a bundled one: {', '.join(BUNDLED)}"
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=11)
    return exit_code(_run, parser.parse_args(arguments))


def _run(chosen: argparse.Namespace) -> None:
    refuse_below_one(chosen, "pictures")
    autoencoder = load_autoencoder(model_path(chosen.model) if chosen.model in BUNDLED else Path(chosen.model)).eval()
    generator = np.random.default_rng((chosen.seed, 3))
    scenes = [sample_scene(generator) for _ in range(chosen.pictures)]
    readings: list[Reading] = []
    for start in range(0, len(scenes), 100):
        readings += read(round_trip(autoencoder, render_array(scenes[start : start + 100])))
    print(confusion_table(confusion(scenes, readings)), end="")


if __name__ == "__main__":
    sys.exit(main())
