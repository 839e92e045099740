"""How well masks fit the region that the right edit changes, on drawings.

    python benchmarks/masks.py --edits 16

For each backbone and mask, by ``flowedit`` or, on the model of instructions, by ``instruct`` with its source held, the mask at the
end of the run (where it is at least ½) against the pixels in which the true target differs from the source: the share of the
picture that it covers, the share of what must change that it covers, and intersection over union. Means with 95 % intervals over
edits of the set *tune*.
"""

import argparse
from typing import Final

import numpy as np
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.instruct import Instruct
from headrouter_shapes.bench import cases
from headrouter_shapes.world.render import changed_region, render
from tqdm import tqdm

from headrouter import Editor
from headrouter.experiments.statistics import mean

DESCRIBED: Final = FlowEdit(steps=28, guidance=3.0, last_steps=0.6)
INSTRUCTED: Final = Instruct(steps=14, guidance=2.0, hold_source=True)
MASKS: Final = ("words", "attention", "velocity(form='short')", "velocity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", action="append", choices=("flux", "sd3", "sd3.5", "flux-kontext"))
    parser.add_argument("--edits", type=int, default=80)
    arguments = parser.parse_args()
    chosen = cases("tune", arguments.edits)
    sources, kinds = [case.source_number for case in chosen], [case.kind for case in chosen]
    print(
        f"{len(chosen)} edits\n\n| | mask | calls | covers | of what must change | overlap |\n|---|---|---|---|---|---|"
    )
    for backbone in arguments.backbone or ("sd3.5", "sd3", "flux", "flux-kontext"):
        instructed = backbone == "flux-kontext"
        inversion = INSTRUCTED if instructed else DESCRIBED
        editor = Editor(backbone, inversion, None, model="shapes", progress=False)
        for mask in MASKS[instructed:]:  # words of an instruction name no place
            found, calls = [], 0
            for case in tqdm(chosen, desc=f"{backbone}, {mask}", leave=False, disable=None):
                asked = {"seed": case.number, "maps": False, "mask": mask, "paste": True}
                prompts = (case.instruction,) if instructed else (case.prompt, case.source_prompt)
                result = editor.edit(render(case.source), *prompts, **asked)
                inside, region = np.asarray(result.mask()) >= 128, changed_region(case.source, case.target)
                both, calls = float((inside & region).sum()), result.cost.calls
                found.append((inside.mean(), both / region.sum(), both / (inside | region).sum()))
            cells = [mean([float(one) for one in column], sources, kinds) for column in zip(*found, strict=True)]
            said = (f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in cells)
            print(f"| {backbone} | `{mask}` | {calls} | {' | '.join(said)} |", flush=True)


if __name__ == "__main__":
    main()
