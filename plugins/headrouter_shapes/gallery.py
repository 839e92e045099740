"""Draw sheets of the world and its eight kinds of edit (``python -m headrouter_shapes.gallery``)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headrouter_shapes.command import exit_code
from headrouter_shapes.world.render import changed_region, render_array
from headrouter_shapes.world.scene import edit, sample_scene
from headrouter_shapes.world.sheet import save_sheet
from headrouter_shapes.world.vocabulary import SEMANTICS


def world_sheet(seed: int, count: int = 48) -> npt.NDArray[np.uint8]:
    """Return scenes drawn from a seed: uint8 [count, 64, 64, 3]."""
    generator = np.random.default_rng(seed)
    return render_array([sample_scene(generator) for _ in range(count)])


def edit_sheet(seed: int) -> npt.NDArray[np.uint8]:
    """Return three rows of eight: scenes, each edited in another semantic, and in white what the edit changed."""
    generator = np.random.default_rng(seed)
    sources = [sample_scene(generator) for _ in SEMANTICS]
    targets = [edit(scene, semantic, generator) for scene, semantic in zip(sources, SEMANTICS, strict=True)]
    regions = [changed_region(source, target) for source, target in zip(sources, targets, strict=True)]
    shown = np.repeat(255 * np.stack(regions).astype(np.uint8)[..., None], 3, axis=-1)
    return np.concatenate([render_array(sources), render_array(targets), shown])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    parser = argparse.ArgumentParser(prog="python -m headrouter_shapes.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for shapes-world.png and shapes-edits.png")
    parser.add_argument("--seed", type=int, default=4)
    return exit_code(_run, parser.parse_args(arguments))


def _run(chosen: argparse.Namespace) -> None:
    save_sheet(world_sheet(chosen.seed), chosen.out / "shapes-world.png", columns=12)
    save_sheet(edit_sheet(chosen.seed), chosen.out / "shapes-edits.png", columns=len(SEMANTICS))


if __name__ == "__main__":
    sys.exit(main())
