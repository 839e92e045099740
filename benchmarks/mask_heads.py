"""Whether the mask ``attention`` fits better when some heads make it, on drawings.

    python benchmarks/mask_heads.py --edits 32

Edits of the set *tune* by ``flowedit``, 0.7 of 28 steps, guidance 2 and the source's 1. Of each head the squared difference between
its outputs in edit and source is kept, of which the mask of any heads is made. *Best third*: the heads whose own maps find the
changed region best (area under the ROC curve) in edits of *other* pictures. *Most reactive third*: those whose c of HeadRouter's
eq. 12 is largest there. Printed are the share of the picture that a mask covers, the share of the region that must change, their
intersection over union, and the area under the curve of the map, which no θ changes; means with 95 % intervals.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from headrouter_analysis.statistics import area_under_curve
from headrouter_inversions.flowedit import FlowEdit
from headrouter_shapes.bench import cases
from headrouter_shapes.world.render import changed_region, render
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from headrouter import Editor
from headrouter.attention.joint_attention import JointAttention
from headrouter.experiments.statistics import mean
from headrouter.methods.heads import reaction
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans

THETAS: Final = (0.2, 0.35, 0.55)


@final
class Differences(Method):
    """Changes nothing; records how each head's output differs between edit and source."""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"joint-attention"})

    def begin(self, context: RunContext) -> MethodRun:
        return _DifferencesRun(context)


@final
class _DifferencesRun(MethodRun):
    def __init__(self, context: RunContext):
        self._means = StepMeans(context)
        self._needs = Needs(attention=frozenset(site.index for site in context.sites), pair="conditional")

    def needs(self, step: int) -> Needs:
        return self._needs

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        image = event.layout.image
        for place, item in enumerate(event.rows):
            if item.is_edit and item.pair is not None:
                squares = (output[place][:, image] - output[item.pair][:, image]).square().sum(dim=-1)
                self._means.add("squares", event, item.row, squares)
                self._means.add("reaction", event, item.row, reaction(event, output, place))
        return output

    def diagnostics(self) -> Mapping[str, Tensor]:
        return self._means.means()


@final
@dataclass(frozen=True, eq=False)
class Measured:
    """Holds one edit: differences [steps, blocks, heads, tokens], c [blocks, heads], the share of each token that must change."""

    squares: Tensor
    reaction: Tensor
    coverage: Tensor
    picture: int
    kind: str

    def map(self, heads: Tensor) -> Tensor:
        """Return the map of the mask ``attention`` made by these heads, [blocks, heads] of truth values, over its largest."""
        maps = []
        for block in heads.any(dim=1).nonzero().flatten().tolist():
            distance = self.squares[:, block, heads[block]].sum(dim=1).sqrt()
            maps.append((distance / distance.amax(dim=1, keepdim=True)).mean(dim=0))
        whole = torch.stack(maps).mean(dim=0)
        return whole / whole.amax()

    def area(self, heads: Tensor) -> float:
        """Return the area under the curve; NaN where the whole picture must change."""
        return (
            float("nan")
            if self.coverage.min() == 1
            else area_under_curve(self.map(heads).numpy(), self.coverage.numpy())
        )

    def fit(self, heads: Tensor, theta: float) -> tuple[float, float, float]:
        """Return what the mask covers: of the picture, of the region; and intersection over union."""
        inside = self.map(heads) > theta
        both, region = self.coverage[inside].sum(), self.coverage.sum()
        return float(inside.double().mean()), float(both / region), float(both / (inside.sum() + region - both))


def measured(backbone: str, count: int) -> list[Measured]:
    """Make the edits."""
    editor = Editor(
        backbone, FlowEdit(last_steps=0.7, source_guidance=1.0), Differences(), model="shapes", progress=False
    )
    found = []
    for case in tqdm(cases("tune", count), desc=backbone, leave=False, disable=None):
        asked = {"steps": 28, "guidance": 2.0, "seed": case.number, "maps": False}
        result = editor.edit(render(case.source), case.prompt, case.source_prompt, **asked)
        (squares,), (reactions,) = (result.recorded(name) for name in ("squares", "reaction"))
        run = ~squares[:, 0, 0, 0].isnan()
        side = round(squares.shape[-1] ** 0.5)
        region = torch.from_numpy(changed_region(case.source, case.target)).double()
        coverage = functional.adaptive_avg_pool2d(region[None], side).flatten()
        found.append(
            Measured(squares[run].double(), reactions[run].mean(dim=0), coverage, case.source_number, case.kind)
        )
    return found


def best(scores: Tensor) -> Tensor:
    """Return the third of the heads that scores highest."""
    chosen = torch.zeros(scores.numel(), dtype=torch.bool)
    chosen[scores.flatten().argsort(descending=True)[: scores.numel() // 3]] = True
    return chosen.view_as(scores)


def choices(edits: Sequence[Measured]) -> dict[str, list[Tensor]]:
    """Return the heads of each choice for each edit, never by edits of its own picture."""
    every = torch.ones_like(edits[0].reaction, dtype=torch.bool)
    alone = [every.new_zeros(every.numel()).index_fill(0, torch.tensor(place), True) for place in range(every.numel())]
    areas = torch.tensor([[edit.area(one.view_as(every)) for one in alone] for edit in edits]).view(-1, *every.shape)
    reactions = torch.stack([edit.reaction for edit in edits]).clamp(min=1e-12).log()
    others = [torch.tensor([other.picture != edit.picture for other in edits]) for edit in edits]
    return {
        "all": [every] * len(edits),
        "best third": [best(areas[some].nanmean(dim=0)) for some in others],
        "most reactive third": [best(reactions[some].mean(dim=0)) for some in others],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", action="append", choices=("flux", "sd3", "sd3.5"))
    parser.add_argument("--edits", type=int, default=32)
    arguments = parser.parse_args()
    print(
        "| | heads | θ | covers | of the region that must change | overlap | area under the curve |\n|---|---|---|---|---|---|---|"
    )
    for backbone in arguments.backbone or ("sd3.5", "flux"):
        edits = measured(backbone, arguments.edits)
        for name, chosen in choices(edits).items():
            areas = [edit.area(heads) for edit, heads in zip(edits, chosen, strict=True)]
            for theta in THETAS:
                fits = [edit.fit(heads, theta) for edit, heads in zip(edits, chosen, strict=True)]
                columns = [*zip(*fits, strict=True), areas]
                print(
                    f"| {backbone} | {name} | {theta} | {' | '.join(_cell(edits, column) for column in columns)} |",
                    flush=True,
                )


def _cell(edits: Sequence[Measured], values: Sequence[float]) -> str:
    one = mean(values, [edit.picture for edit in edits], [edit.kind for edit in edits])
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"


if __name__ == "__main__":
    main()
