"""What each inversion, mask and steering gives, over the product of them: tables of the run of experiments/shapes-product.yaml.

    headrouter experiment run experiments/shapes-product.yaml -o runs/product --item 000 ...
    python benchmarks/product.py runs/product --picture product.png

The models are taken together. Differences are of the same edit of the same model with all else equal, in points of success, and in
decibels of preservation where both succeed and of the distance to truth; with 95 % intervals, pictures drawn whole.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import matplotlib

from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.reading import read_records
from headrouter.experiments.statistics import Estimate, mean

matplotlib.use("Agg")
from matplotlib import pyplot

MASKS: Final = ("none", "words", "attention", "velocity", "region")
STEERINGS: Final = ("none", "projection", "gate", "HeadRouter")
COLUMNS: Final[Mapping[str, tuple[str, float]]] = {
    "success": ("success, %", 100),
    "preservation": ("preservation, dB", 1),
    "truth": ("distance to truth, dB", 1),
}


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Says where a finished edit stands in the product."""

    inversion: str
    mask: str
    steering: str

    @classmethod
    def of(cls, configuration: str) -> "Place":
        inversion, *parts = configuration.split(" + ")
        steerings = [one for one in parts if one in STEERINGS]
        masks = [one for one in parts if one in MASKS]
        if len(parts) != len(steerings) + len(masks) or max(len(steerings), len(masks)) > 1:
            raise SystemExit(f"{configuration!r} is no configuration of experiments/shapes-product.yaml.")
        return cls(inversion, *(masks or ["none"]), *(steerings or ["none"]))


FORM: Final = (("success", 0), ("preservation", 1), ("truth", 1))
"""Columns and digits of a triple in a table."""
Edit = tuple[str, str]
"""Model and item."""
Cells = dict[Place, dict[Edit, CellRecord]]
Pairs = Callable[[Sequence[str], str], list[tuple[Place, Place]]]
"""Places that differ in one option, of some inversions."""


def value(record: CellRecord, column: str) -> float:
    """Return a value of a finished edit; NaN where there is none, as of preservation where the right edit changes all."""
    found = record.values[f"shapes-1.{column}"]
    return math.nan if found is None else float(found)  # type: ignore[arg-type]


def average(cells: Mapping[Edit, CellRecord], column: str) -> float:
    return mean([value(record, column) for record in cells.values()]).value


def difference(cells: Cells, pairs: Sequence[tuple[Place, Place]], column: str) -> Estimate:
    """Return the mean difference of the first and the second of each pair, over the edits that both have."""
    values, pictures = [], []
    for one, other in pairs:
        for edit in cells[one].keys() & cells[other].keys():
            ours, theirs = cells[one][edit], cells[other][edit]
            if column == "preservation" and not (value(ours, "success") and value(theirs, "success")):
                continue
            values.append(value(ours, column) - value(theirs, column))
            pictures.append(ours.picture)
    return mean(values, pictures)


def table(heads: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]]) -> None:
    print("| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|", sep="\n")
    for name, cells in lines:
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def levels(cells: Cells, inversions: Sequence[str]) -> None:
    """Print success, preservation and distance to truth of each inversion with each mask, unsteered."""
    lines = [
        (
            inversion,
            [
                " / ".join(
                    f"{average(cells[Place(inversion, mask, 'none')], c) * COLUMNS[c][1]:.{d}f}" for c, d in FORM
                )
                for mask in MASKS
            ],
        )
        for inversion in inversions
    ]
    table(MASKS, lines)


def differences(cells: Cells, inversions: Sequence[str], options: Sequence[str], pairs: Pairs) -> None:
    """Print what each option adds to none, for each inversion and over all of them."""
    for column, (heading, scale) in COLUMNS.items():
        print(f"{heading}, minus none\n")
        lines = []
        for name, some in [*((one, [one]) for one in inversions), ("all", inversions)]:
            found = [difference(cells, pairs(some, option), column) for option in options]
            lines.append((name, [said(one, scale) for one in found]))
        table(options, lines)


def said(one: Estimate, scale: float) -> str:
    low, high = (f"{end * scale:.1f}" if math.isfinite(end) else "?" for end in (one.low, one.high))
    return f"{one.value * scale:.1f} [{low}, {high}]"


def picture(cells: Cells, inversions: Sequence[str], path: Path) -> None:
    """Draw the means of every cell of the product, a panel for each column of the tables."""
    names = [(mask, steering) for steering in STEERINGS for mask in MASKS]
    figure, axes = pyplot.subplots(len(COLUMNS), 1, figsize=(13, 3.6 * len(COLUMNS)), layout="constrained")
    for axis, (column, (heading, scale)) in zip(axes, COLUMNS.items(), strict=True):
        grid = [[average(cells[Place(one, *name)], column) * scale for name in names] for one in inversions]
        axis.imshow(grid, aspect="auto", cmap="viridis")
        middle = (max(map(max, grid)) + min(map(min, grid))) / 2
        for y, line in enumerate(grid):
            for x, number in enumerate(line):
                colour = "black" if number > middle else "white"
                axis.text(
                    x, y, f"{number:.{0 if scale > 1 else 1}f}", ha="center", va="center", color=colour, fontsize=9
                )
        axis.set(title=heading, yticks=range(len(inversions)), yticklabels=inversions)
        axis.set_xticks(range(len(names)), [mask for mask, _ in names], rotation=45, ha="right")
        for place, steering in enumerate(STEERINGS):
            middle_of = (place + 0.5) * len(MASKS) - 0.5
            axis.text(middle_of, -0.75, steering, ha="center", fontsize=10, style="italic")
            if place:
                axis.axvline(place * len(MASKS) - 0.5, color="white", linewidth=3)
        axis.title.set_position((0.5, 1.1))
        axis.title.set_y(1.1)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="run folders")
    parser.add_argument("--picture", type=Path, help="file for a picture of all means")
    asked = parser.parse_args()
    cells: Cells = {}
    for record in itertools.chain.from_iterable(map(read_records, asked.folders)):
        if record.edited:
            cells.setdefault(Place.of(record.configuration), {})[record.backbone, record.item] = record
    inversions = list(dict.fromkeys(place.inversion for place in cells))
    counts = {len(some) for some in cells.values()}
    missing = len(inversions) * len(MASKS) * len(STEERINGS) - len(cells)
    if missing or len(counts) > 1:
        raise SystemExit(f"The run is not complete: {missing} configurations without edits, others with {counts}.")
    models = {model for some in cells.values() for model, _ in some}
    print(
        f"{counts.pop() // len(models)} edits on {', '.join(sorted(models))}; success / preservation / distance to truth\n"
    )
    levels(cells, inversions)
    print("Masks, where nothing steers\n")
    differences(cells, inversions, MASKS[1:], masked)
    print("Steering, with the same mask or none\n")
    differences(cells, inversions, STEERINGS[1:], steered)
    if asked.picture:
        picture(cells, inversions, asked.picture)


def masked(inversions: Sequence[str], mask: str) -> list[tuple[Place, Place]]:
    return [(Place(one, mask, "none"), Place(one, "none", "none")) for one in inversions]


def steered(inversions: Sequence[str], steering: str) -> list[tuple[Place, Place]]:
    return [(Place(one, mask, steering), Place(one, mask, "none")) for one in inversions for mask in MASKS]


if __name__ == "__main__":
    main()
