"""Where each head of the bundled instruction model looks: how its attention divides into instruction, new picture and reference.

    python benchmarks/groups.py docs/images/instruction-heads.png --edits 16

The method ``group-shares`` records, for the image tokens of the new picture, the share of each head's attention that goes to
each group; means over edits of the set *tune* and over steps. The picture has a table of layers by heads for each group; printed
are the means of each layer, the heads of the largest share in each group, and how far the shares move from the first third of
the steps to the last.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from headrouter_references.groups import GROUPS
from headrouter_references.routing import GroupShares
from headrouter_shapes.bench import cases
from headrouter_shapes.world.render import render
from matplotlib.figure import Figure
from tqdm import tqdm

from headrouter import Editor

MODEL_LAYERS = "double blocks first, then single"


def measured(edits: int, steps: int, guidance: float) -> dict[str, npt.NDArray[np.float64]]:
    """Return the shares of each group: [edit, step, layer, head]."""
    editor = Editor("flux-kontext", "instruct", GroupShares(), model="shapes", progress=False)
    found: dict[str, list[npt.NDArray[np.float64]]] = {group: [] for group in GROUPS}
    for case in tqdm(cases("tune", edits), disable=None):
        asked = {"steps": steps, "guidance": guidance, "seed": case.number, "maps": False}
        result = editor.edit(render(case.source), case.instruction, **asked)
        for group in GROUPS:
            found[group].append(result.recorded(f"{group}_shares")[0].double().numpy())
    return {group: np.stack(own) for group, own in found.items()}


def draw(shares: dict[str, npt.NDArray[np.float64]], path: Path) -> None:
    """Draw a table of layers by heads for each group."""
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    for axes, (group, own) in zip(figure.subplots(1, len(shares), sharey=True), shares.items(), strict=True):
        table = own.mean((0, 1))
        image = axes.imshow(table, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        axes.set(title=f"to the {group}", xlabel="head", xticks=range(table.shape[1]), yticks=range(len(table)))
        for (layer, head), value in np.ndenumerate(table):
            colour = "black" if value > 0.6 else "white"
            axes.text(head, layer, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    figure.axes[0].set_ylabel(f"layer ({MODEL_LAYERS})")
    figure.colorbar(image, ax=figure.axes, label="share of attention")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def said(shares: dict[str, npt.NDArray[np.float64]], most: int = 5) -> str:
    """Return tables in Markdown."""
    groups, layers = list(shares), next(iter(shares.values())).shape[2]
    lines = ["| layer | " + " | ".join(groups) + " |", "|---|" + "---:|" * len(groups)]
    lines += [
        f"| {layer} | {' | '.join(_layer(shares[group], layer) for group in groups)} |" for layer in range(layers)
    ]
    lines.append("\nMean, and smallest to largest head, in per cent.\n")
    for group, own in shares.items():
        table, third = own.mean((0, 1)), max(1, own.shape[1] // 3)
        largest = np.argsort(table, axis=None)[::-1][:most]
        heads = ((int(layer), int(head)) for layer, head in (np.unravel_index(place, table.shape) for place in largest))
        named = ", ".join(f"{layer}.{head} {100 * table[layer, head]:.0f} %" for layer, head in heads)
        first, last = own[:, :third].mean(), own[:, -third:].mean()
        spread = own.mean(1).std(0).mean()
        lines.append(
            f"- {group}: largest (layer.head) {named}; first third of the steps {100 * first:.0f} %, last {100 * last:.0f} %; "
            f"deviation between edits {100 * spread:.1f} points."
        )
    return "\n".join(lines)


def _layer(own: npt.NDArray[np.float64], layer: int) -> str:
    heads = 100 * own[:, :, layer].mean((0, 1))
    return f"{heads.mean():.0f} ({heads.min():.0f} to {heads.max():.0f})"


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="picture to write")
    parser.add_argument("--edits", type=int, default=16)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--guidance", type=float, default=2.0)
    arguments = parser.parse_args()
    shares = measured(arguments.edits, arguments.steps, arguments.guidance)
    print(said(shares))
    draw(shares, arguments.path)


if __name__ == "__main__":
    main()
