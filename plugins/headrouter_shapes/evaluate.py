"""Measure a trained pipeline, as JSON and as a table (``python -m headrouter_shapes.evaluate``).

All captions are of held-out combinations. Generation and reconstruction are plain Euler steps on the scheduler's grid;
reconstruction integrates the flow from the picture to noise and back, with the picture's caption at guidance 1, and
stores no velocity. Pictures are read by the oracle. A pipeline of instructions edits instead, see
:mod:`headrouter_shapes.bench.instructions`.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headrouter.cli.options import refuse_below_one
from headrouter.imaging.picture import output_folder, psnr
from headrouter_shapes.bench.instructions import evaluate_instructions, instructions_table
from headrouter_shapes.bench.sets import SIZES
from headrouter_shapes.command import exit_code
from headrouter_shapes.files import replacing
from headrouter_shapes.pipelines.folder import is_instructed, load_measured
from headrouter_shapes.pipelines.sampling import decode_latents, encode_pictures, integrate, starting_noise
from headrouter_shapes.weights import BUNDLED, model_path
from headrouter_shapes.world.caption import VARIANTS, caption
from headrouter_shapes.world.oracle import Reading, read
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import CAP, render_array
from headrouter_shapes.world.scene import Scene, sample_scene
from headrouter_shapes.world.sheet import save_sheet
from headrouter_shapes.world.vocabulary import SEMANTICS

Pictures = npt.NDArray[np.uint8]

GOALS = {
    "round trip, dB": 32.0,
    "reconstruction, dB": 30.0,
    **dict.fromkeys(("colour", "background", "size", "position"), 0.95),
    **dict.fromkeys(("shape", "texture", "number", "style"), 0.90),
}
"""What each figure should reach."""


def evaluation_scenes(count: int, seed: int) -> tuple[list[Scene], list[str]]:
    """Return held-out scenes and a caption of each, always the same for the same seed."""
    generator = np.random.default_rng((seed, 2))
    drawn = [(sample_scene(generator, held_out=True), int(generator.integers(VARIANTS))) for _ in range(count)]
    return [scene for scene, _ in drawn], [caption(scene, variant) for scene, variant in drawn]


def accuracy(scenes: Sequence[Scene], readings: Sequence[Reading]) -> dict[str, float]:
    """Return the share of pictures in which each semantic, and all eight together, are read correctly."""
    right = {
        name: [
            reading.attributes[name] == getattr(scene, name) for scene, reading in zip(scenes, readings, strict=True)
        ]
        for name in SEMANTICS
    }
    return {name: float(np.mean(values)) for name, values in right.items()} | {
        "all eight": float(np.mean(np.all(list(right.values()), axis=0)))
    }


def _batches(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def evaluate(
    folder: Path,
    *,
    count: int = 500,
    steps: int = 28,
    guidance: float = 3.0,
    seed: int = 7,
    batch: int = 50,
    device: str = "cpu",
    workers: int = 1,
    sheet: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a pipeline folder.

    Args:
        folder: in diffusers' format.
        count: pictures, all of held-out captions.
        steps: of Euler, for generation, inversion and reconstruction.
        guidance: of generation.
        seed: of scenes, wordings and noise.
        batch: pictures at a time.
        device: where the pipeline runs.
        workers: CPU threads, a batch each.
        sheet: where to save generated pictures above the renderings of their captions.
        say: called with a line on what is being done.

    Returns:
        Figures by name, with the settings that gave them.
    """
    pipeline, loading = load_measured(folder, device)
    scenes, captions = evaluation_scenes(count, seed)
    truth = render_array(scenes)

    def measure(part: slice) -> tuple[Pictures, Pictures, Pictures]:
        say(f"{folder.name}: pictures {part.start} to {part.stop} of {count}")
        latents = encode_pictures(pipeline, to_tensor(truth[part]).to(device))
        noise = integrate(pipeline, latents, captions[part], steps=steps, invert=True)
        again = integrate(pipeline, noise, captions[part], steps=steps)
        fresh = starting_noise(seed, part.stop - part.start, part.start).to(device)
        made = integrate(pipeline, fresh, captions[part], steps=steps, guidance=guidance)
        trip, back, drawn = (to_pictures(decode_latents(pipeline, values)) for values in (latents, again, made))
        return trip, back, drawn

    with ThreadPoolExecutor(workers) as threads:
        measured = list(threads.map(measure, _batches(count, batch)))
        trips, backs, generated = (np.concatenate(parts) for parts in zip(*measured, strict=True))
        say(f"{folder.name}: reading")
        readings = [
            [reading for part in threads.map(read, np.array_split(pictures, -(-count // batch))) for reading in part]
            for pictures in (trips, generated)
        ]
    if sheet is not None:
        shown = [rows[start : start + 12] for start in range(0, 48, 12) for rows in (generated, truth)]
        save_sheet(np.concatenate(shown), sheet, columns=12)
    trip, back = ([psnr(*pair, most=CAP) for pair in zip(truth, drawn, strict=True)] for drawn in (trips, backs))
    return {
        "settings": {"pictures": count, "steps": steps, "guidance": guidance, "seed": seed, "device": device},
        **loading,
        "round trip, dB": round(float(np.mean(trip)), 2),
        "reconstruction, dB": round(float(np.mean(back)), 2),
        "reconstruction, lowest tenth, dB": round(float(np.quantile(back, 0.1)), 2),
        "oracle after the round trip": accuracy(scenes, readings[0]),
        "generated": accuracy(scenes, readings[1]),
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures of several pipelines as a Markdown table; a figure below its goal is bold."""
    names = list(figures)
    lines = ["| Figure | goal | " + " | ".join(names) + " |", "| --- | --- |" + " --- |" * len(names)]

    def row(title: str, goal: str, cells: list[str]) -> None:
        lines.append(f"| {title} | {goal} | " + " | ".join(cells) + " |")

    def cell(value: float, goal: float, text: str) -> str:
        return text if value >= goal else f"**{text}**"

    for title in ("round trip, dB", "reconstruction, dB"):
        row(
            title,
            f"{GOALS[title]:.0f}",
            [cell(figures[n][title], GOALS[title], f"{figures[n][title]:.1f}") for n in names],
        )
    for semantic in (*SEMANTICS, "all eight"):
        goal = GOALS.get(semantic, 0.0)
        values = [figures[n]["generated"][semantic] for n in names]
        row(
            f"generated: {semantic}",
            f"{goal:.0%}" if goal else "",
            [cell(value, goal, f"{value:.1%}") for value in values],
        )
    for semantic in SEMANTICS:
        values = [figures[n]["oracle after the round trip"][semantic] for n in names]
        row(f"oracle: {semantic}", "99%", [cell(value, 0.99, f"{value:.1%}") for value in values])
    row("load, s", "< 5", [f"{figures[n]['load, s']:.1f}" for n in names])
    row("folder, MB", "< 24", [f"{figures[n]['megabytes']:.1f}" for n in names])
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headrouter_shapes.evaluate", description=__doc__)
    parser.add_argument(
        "models", nargs="+", help=f"folders of pipelines, or names of bundled ones: {', '.join(BUNDLED)}"
    )
    parser.add_argument("--out", type=Path, help="folder for figures.json, figures.md and a sheet for each model")
    parser.add_argument(
        "--pictures",
        type=int,
        help=f"default: 500, and of a pipeline of instructions all {SIZES['full']} edits of the set test",
    )
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--guidance", type=float, help="default: 3, and of a pipeline of instructions 2")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1, help="CPU threads, each with pictures of its own")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    return exit_code(_run, _parser().parse_args(arguments))


def _run(chosen: argparse.Namespace) -> None:
    refuse_below_one(chosen, *("pictures",) * (chosen.pictures is not None), "steps", "workers")
    if chosen.workers > 1:
        torch.set_num_threads(1)
    with contextlib.nullcontext() if chosen.out is None else output_folder(chosen.out):
        _measure(chosen)


def _measure(chosen: argparse.Namespace) -> None:
    drawn, edited = {}, {}
    for model in chosen.models:
        folder = model_path(model) if model in BUNDLED else Path(model)
        how: dict[str, Any] = {
            "steps": chosen.steps,
            **({} if chosen.guidance is None else {"guidance": chosen.guidance}),
            "seed": chosen.seed,
            "device": chosen.device,
            "workers": chosen.workers,
            "sheet": None if chosen.out is None else chosen.out / f"{folder.name}.png",
            "say": lambda line: print(line, file=sys.stderr, flush=True),
        }
        if is_instructed(folder):
            edited[folder.name] = evaluate_instructions(folder, count=chosen.pictures or SIZES["full"], **how)
        else:
            drawn[folder.name] = evaluate(folder, count=chosen.pictures or 500, **how)
    text = "\n".join([*([table(drawn)] if drawn else []), *([instructions_table(edited)] if edited else [])])
    print(text, end="")
    if chosen.out is not None:
        figures = {**drawn, **edited}
        for name, said in (("figures.json", json.dumps(figures, indent=1) + "\n"), ("figures.md", text)):
            with replacing(chosen.out / name) as place:
                place.write_text(said, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
