"""Which strength of an edit is right, and how near `strength="auto"` comes to it, on drawings.

    python benchmarks/strength.py --set tune --edits 80
    python benchmarks/strength.py --set test --edits 200 --out strength.jsonl

By `flowedit` with local blending, 28 steps, guidance 3: every strength that the inversion declares, the one that `auto` keeps, and
two that only the right answer tells, the weakest that succeeds and the one nearest to the truth. Means with 95 % intervals, and
edit by edit minus each strength: success, preservation where both succeed, distance to truth. `--out` keeps each edit's
values, and a second run goes on from there.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from headrouter_blending.method import LocalBlend
from headrouter_inversions.flowedit import FlowEdit
from headrouter_shapes.bench import Case, cases, configure
from headrouter_shapes.bench.measures import measure
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import render_array
from tqdm import tqdm

from headrouter import Editor
from headrouter.editing.batch import Batch, Task
from headrouter.experiments.statistics import mean, rate

TOGETHER: Final = 4
SCALE: Final = FlowEdit.strengths
FIXED: Final = [f"{SCALE.parameter}={value:g}" for value in SCALE.values] if SCALE else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", action="append", choices=("flux", "sd3", "sd3.5"))
    parser.add_argument("--set", choices=("tune", "test"), default="tune")
    parser.add_argument("--edits", type=int, default=80)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    names, chosen = arguments.backbone or ["sd3.5", "flux"], cases(arguments.set, arguments.edits)
    kept = arguments.out.read_text().splitlines() if arguments.out and arguments.out.exists() else []
    rows = {(row["backbone"], row["key"]): row for row in map(json.loads, kept)}
    editors = {name: Editor(name, "flowedit", None, model="shapes", progress=False) for name in names}
    for first in tqdm(range(0, len(chosen), TOGETHER), disable=None):
        group = chosen[first : first + TOGETHER]
        for name, editor in editors.items():
            if all((name, case.key) in rows for case in group):
                continue
            for case, values in zip(group, edited(editor, name, group), strict=True):
                rows[name, case.key] = row = {"backbone": name, "key": case.key, **values}
                if arguments.out:
                    with arguments.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    for name in names:
        report(name, chosen, [rows[name, case.key] for case in chosen])


@torch.inference_mode()
def edited(editor: Editor, name: str, group: Sequence[Case]) -> list[dict[str, Any]]:
    """Return for each edit of a picture success, preservation and distance to truth at each strength, and the one that is kept."""
    blend = LocalBlend(mask="attention", blend=1.0)
    plan = configure("auto", name, "flowedit", blend, strength="auto", steps=28, guidance=3.0).plan
    source = group[0]
    pixels = to_tensor(render_array([source.source]))
    task = Task(tuple(case.prompt for case in group), (source.seed(0),), source.source_prompt, pixels)
    found = Batch(editor.backbone, plan, (task,), (64, 64)).edit()
    each = [measure(to_pictures(editor.backbone.decode(latents)), group) for latents in found.tried]
    return [
        {"auto": found.strengths[place]}
        | {
            fixed: [float(one[place].success), one[place].preservation, one[place].truth]
            for fixed, one in zip(FIXED, each, strict=True)
        }
        for place in range(len(group))
    ]


def report(name: str, chosen: Sequence[Case], rows: Sequence[dict[str, Any]]) -> None:
    """Print means of each way to choose, and its differences to each fixed strength."""
    sources, kinds = [case.source_number for case in chosen], [case.kind for case in chosen]
    ways = {fixed: [row[fixed] for row in rows] for fixed in FIXED}
    ways["auto"] = [row[row["auto"]] for row in rows]
    ways["weakest that succeeds"] = [next((row[one] for one in FIXED if row[one][0]), row[FIXED[0]]) for row in rows]
    ways["nearest to the truth"] = [max((row[one] for one in FIXED), key=lambda values: values[2]) for row in rows]
    print(f"\n{name}, {len(rows)} edits\n\n| | success | preservation, dB | distance to truth, dB |\n|---|---|---|---|")
    for way, values in ways.items():
        successes, kept, truth = zip(*values, strict=True)
        there = [place for place, value in enumerate(kept) if value == value]
        cells = rate([bool(one) for one in successes]), average(kept, there, sources, kinds)
        print(f"| {way} | {said(cells[0], 0, 100)} | {said(cells[1], 1)} | {said(mean(truth, sources, kinds), 1)} |")
    print(
        "\n| | minus | success, points | preservation where both succeed, dB | distance to truth, dB |\n|---|---|---|---|---|"
    )
    for way in ("auto", "weakest that succeeds", "nearest to the truth"):
        for fixed in FIXED:
            pairs = list(zip(ways[way], ways[fixed], strict=True))
            apart = [[one - other for one, other in zip(*pair, strict=True)] for pair in pairs]
            both = [p for p, (one, other) in enumerate(pairs) if one[0] and other[0] and apart[p][1] == apart[p][1]]
            successes, kept, truth = zip(*apart, strict=True)
            cells = mean([100 * one for one in successes], sources, kinds), average(kept, both, sources, kinds)
            print(
                f"| {way} | {fixed} | {said(cells[0], 1)} | {said(cells[1], 2)} | {said(mean(truth, sources, kinds), 2)} |"
            )


def average(values: Sequence[float], places: Sequence[int], sources: Sequence[int], kinds: Sequence[str]) -> Any:
    return mean([values[p] for p in places], [sources[p] for p in places], [kinds[p] for p in places])


def said(one: Any, digits: int, scale: float = 1) -> str:
    low, value, high = (scale * number for number in (one.low, one.value, one.high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
