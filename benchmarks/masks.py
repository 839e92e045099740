"""How well the masks of local blending fit the region that the right edit changes, on drawings.

    python benchmarks/masks.py --edits 80

For masks of words and of differences, each with its default threshold, the mask of the last step that had one against the pixels in
which the true target differs from the source: the share of the picture that the mask covers, the share of what must change that it
covers, and intersection over union. Means with 95 % intervals over edits of the set *tune*.
"""

import argparse
from typing import Final

import numpy as np
from headrouter_blending.method import LocalBlend
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_shapes.bench import cases
from headrouter_shapes.world.render import changed_region, render
from tqdm import tqdm

from headrouter import Editor
from headrouter.experiments.statistics import mean
from headrouter.sampling.inversion import Inversion

INVERSIONS: Final[dict[str, Inversion]] = {
    "rf, held": RFInversion(eta=1.0, stop=14, hold_source=True),
    "flowedit": FlowEdit(last_steps=0.6),
}
KINDS: Final[tuple[str, ...]] = ("words", "attention")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="sd3.5", choices=("flux", "sd3", "sd3.5"))
    parser.add_argument("--edits", type=int, default=80)
    arguments = parser.parse_args()
    backbone = Editor(arguments.backbone, model="shapes", progress=False).backbone
    chosen = cases("tune", arguments.edits)
    print(f"{arguments.backbone}, {len(chosen)} edits\n")
    print("| | masks of | covers | of what must change | overlap |\n|---|---|---|---|---|")
    for name, inversion in INVERSIONS.items():
        for kind in KINDS:
            editor = Editor(backbone, inversion, LocalBlend(mask=kind, blend=1.0), progress=False)
            found = []
            for case in tqdm(chosen, desc=f"{name}, {kind}", leave=False, disable=None):
                result = editor.edit(
                    render(case.source),
                    case.prompt,
                    case.source_prompt,
                    steps=28,
                    guidance=3.0,
                    seed=case.number,
                    maps=False,
                )
                mask, region = np.asarray(result.mask()) > 0, changed_region(case.source, case.target)
                both = float((mask & region).sum())
                found.append((mask.mean(), both / region.sum(), both / (mask | region).sum()))
            sources, kinds = [case.source_number for case in chosen], [case.kind for case in chosen]
            cells = [mean([float(one) for one in column], sources, kinds) for column in zip(*found, strict=True)]
            said = (f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in cells)
            print(f"| {name} | {kind} | {' | '.join(said)} |", flush=True)


if __name__ == "__main__":
    main()
