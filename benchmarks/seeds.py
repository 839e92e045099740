"""Whether another seed buys more than steering, on drawings edited by instructions.

    headrouter experiment run experiments/shapes-instruction-seeds.yaml -o runs/seeds
    python benchmarks/seeds.py runs/seeds

Of the seeds of each edit one is chosen: without the right answer, by the model's own judgement or by how near the edit is to
the picture; or by the right answer, a bound of all choices. The judgement is that of `strength="auto"`, the null instruction in
place of the source's prompt: by how much the instruction's error is smaller. Means with 95 % intervals, edits of one drawing kept
together, and edit by edit minus one seed of the model alone, which is the mean of its seeds.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from headrouter_shapes.bench import Case, cases
from headrouter_shapes.world.pool import to_tensor
from headrouter_shapes.world.render import render_array

from headrouter import Editor
from headrouter.attention.rows import Row
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.reading import read_records
from headrouter.experiments.statistics import mean, rate
from headrouter.imaging.picture import load_picture
from headrouter.models.backbone import Backbone
from headrouter.models.likelihood import margins
from headrouter.sampling.noise import Noise

ALONE: Final = "alone"
COLUMNS: Final = ("success", "preservation", "truth")
Seeds = Sequence[CellRecord]
"""The records of an edit, one for each seed."""


def main() -> None:
    """Read a run folder, choose, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the experiment")
    parser.add_argument("--set", choices=("tune", "test"), default="tune", help="of the experiment (default: tune)")
    arguments = parser.parse_args()
    edits: dict[str, dict[str, list[CellRecord]]] = {}
    for record in read_records(arguments.folder):
        edits.setdefault(record.configuration, {}).setdefault(record.item, []).append(record)
    judge = Judge(arguments.folder, {case.key: case for case in cases(arguments.set, 400)})
    ways: dict[str, Callable[[CellRecord], Any]] = {
        "the model's choice": judge,
        "the nearest to the picture": lambda one: one.values["psnr-1.psnr"],
        "the nearest to the truth": lambda one: figures(one)[2],
        "one that succeeds, and keeps most": lambda one: figures(one)[:2],
    }
    found: dict[tuple[str, str], dict[str, list[CellRecord]]] = {}
    for name, own in edits.items():
        found[name, "one seed"] = own
        for way, value in ways.items():
            found[name, way] = {item: [max(seeds, key=value)] for item, seeds in own.items()}
    report(found)


class Judge:
    """Says how much smaller a model's error is at an edit by its instruction than by the null instruction."""

    def __init__(self, folder: Path, named: Mapping[str, Case]):
        self.folder, self.named = folder, named
        self.backbone: Backbone = Editor("flux-kontext", model="shapes", progress=False).backbone

    @torch.inference_mode()
    def __call__(self, record: CellRecord) -> float:
        assert record.saved is not None
        case, encode = self.named[record.item], self.backbone.encode_image
        reference = encode(to_tensor(render_array([case.source])))
        edit = encode(to_tensor(np.array(load_picture(self.folder / record.saved.file))[None]))
        nothing, instruction = self.backbone.encode_prompts(["", case.instruction])
        rows = [Row(prompt, nothing, 1.0, 0, 0, (reference,)) for prompt in (nothing, instruction)]
        noise = Noise([case.source_number], self.backbone.latent_shape(64, 64), self.backbone.device)
        found = margins(self.backbone.velocity, edit, lambda level: noise("strength", level), *rows)
        return float(found[0])


def figures(record: CellRecord) -> tuple[float, ...]:
    """Return success, preservation and distance to truth; NaN where one is not defined."""
    values = (record.values[f"shapes-1.{column}"] for column in COLUMNS)
    return tuple(math.nan if value is None else float(value) for value in values)


def report(found: Mapping[tuple[str, str], Mapping[str, Seeds]]) -> None:
    """Print means of each way to choose, and its differences to one seed of the model alone."""
    print("| | | success, % | preservation, dB | distance to truth, dB |\n|---|---|---|---|---|")
    for (name, way), own in found.items():
        every = [one for seeds in own.values() for one in seeds]
        groups = [one.picture for one in every], [one.kind for one in every]
        success, kept, truth = zip(*map(figures, every), strict=True)
        cells = said(rate(np.array(success), *groups), 0, 100), said(mean(kept, *groups)), said(mean(truth, *groups))
        print(f"| {name} | {way} | {' | '.join(cells)} |")
    print("\n| | | success, points | preservation, dB | distance to truth, dB |\n|---|---|---|---|---|")
    plain = found[ALONE, "one seed"]
    for (name, way), own in found.items():
        if own is plain:
            continue
        first = [seeds[0] for seeds in own.values()]
        groups = [one.picture for one in first], [one.kind for one in first]
        apart = np.array([average(seeds) - average(plain[item]) for item, seeds in own.items()]).T
        cells = [said(mean(scale * column, *groups), 1) for scale, column in zip((100, 1, 1), apart, strict=True)]
        print(f"| {name} | {way} | {' | '.join(cells)} |")


def average(seeds: Seeds) -> Any:
    """Return the mean figures of an edit over its seeds."""
    return np.mean([figures(one) for one in seeds], axis=0)


def said(one: Any, digits: int = 1, scale: float = 1) -> str:
    """Return an estimate with its interval."""
    low, value, high = (scale * number for number in (one.low, one.value, one.high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
