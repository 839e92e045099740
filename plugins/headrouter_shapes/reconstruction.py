"""Measure how well each inversion holds a picture, over model calls (``python -m headrouter_shapes.reconstruction``).

Held-out drawings are edited with their own caption and without steering, at several numbers of steps. Each point of the
plot is the mean PSNR to the drawing with its 95 % interval. The dashed line is what the autoencoder alone returns.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final, TypedDict

import numpy as np
from tqdm import tqdm

from headrouter.editing.assembly import backbone_of
from headrouter.errors import InvalidInputError
from headrouter.experiments.statistics import mean
from headrouter.imaging.picture import output_folder, psnr
from headrouter.models.backbone import Backbone
from headrouter_shapes.bench.batch import edit_cases
from headrouter_shapes.bench.sets import EDITS_PER_SOURCE, SIZES, Case, cases
from headrouter_shapes.bench.study import configure
from headrouter_shapes.command import exit_code
from headrouter_shapes.files import replacing
from headrouter_shapes.pipelines.build import BACKBONES
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import CAP, render_array

_TWO_CALLS: Final = (2, 4, 7, 14, 28, 60)
STEPS: Final = {
    "euler": _TWO_CALLS,
    "rf": _TWO_CALLS,
    "rf-sde": _TWO_CALLS,
    "rf-solver": (1, 2, 4, 7, 14, 30),
    "fireflow": (1, 3, 6, 13, 27, 59),
    "flowedit": (3, 5, 8, 16, 32, 70),
    "sdedit": (6, 11, 20, 40, 80, 160),
}
"""Numbers of steps of each inversion that take 4 to 120 model calls."""


class Point(TypedDict):
    """Holds one inversion at one number of steps: ``psnr`` dB of each picture."""

    backbone: str
    guidance: float
    inversion: str
    steps: int
    calls: int
    psnr: list[float]


def drawings(count: int) -> list[Case]:
    """Return the first ``count`` sources of the benchmark's *tune* set, each to be edited into itself.

    Raises:
        InvalidInputError: none, or more than the set has.
    """
    most = SIZES["full"] // EDITS_PER_SOURCE
    if not 1 <= count <= most:
        raise InvalidInputError(f"`--pictures` must be between 1 and {most}; got {count}.")
    first = cases("tune", EDITS_PER_SOURCE * count)[::EDITS_PER_SOURCE]
    return [dataclasses.replace(case, target=case.source) for case in first]


def points(backbone: Backbone, name: str, some: Sequence[Case], guidance: float) -> Iterator[Point]:
    """Reconstruct all drawings by every inversion at each of its :data:`STEPS`."""
    drawn = render_array([case.source for case in some])
    for inversion in tqdm(STEPS, desc=f"{name}, guidance {guidance:g}", unit="inversion"):
        for steps in STEPS[inversion]:
            chosen = configure(inversion, name, inversion, "none", steps=steps, guidance=guidance)
            found, cost = edit_cases(backbone, chosen, some)
            yield Point(
                backbone=name,
                guidance=guidance,
                inversion=inversion,
                steps=steps,
                calls=cost.calls,
                psnr=[psnr(*pair, most=CAP) for pair in zip(found, drawn, strict=True)],
            )


def plot(measured: Sequence[Point], ceilings: dict[str, float], path: Path) -> None:
    """Draw PSNR over model calls: a row for each guidance, a column for each backbone."""
    from matplotlib.figure import Figure

    backbones = list(dict.fromkeys(point["backbone"] for point in measured))
    guidances = sorted({point["guidance"] for point in measured})
    figure = Figure(figsize=(4.6 * len(backbones), 3.6 * len(guidances)), layout="constrained")
    axes = figure.subplots(len(guidances), len(backbones), sharex=True, sharey=True, squeeze=False)
    for row, guidance in zip(axes, guidances, strict=True):
        for axis, backbone in zip(row, backbones, strict=True):
            for number, inversion in enumerate(STEPS):
                drawn = (backbone, guidance, inversion)
                chosen = [p for p in measured if (p["backbone"], p["guidance"], p["inversion"]) == drawn]
                found = [mean(p["psnr"], range(len(p["psnr"]))) for p in chosen]
                calls, middle = [p["calls"] for p in chosen], [one.value for one in found]
                half = [one.high - one.value if np.isfinite(one.high) else 0.0 for one in found]
                axis.errorbar(calls, middle, half, label=inversion, marker="o", ms=3, lw=1.2, color=f"C{number}")
            axis.axhline(ceilings[backbone], color="gray", ls="--", lw=1, label="autoencoder alone")
            axis.set(xscale="log", title=f"{backbone}, guidance {guidance:g}", xlabel="model calls", ylabel="PSNR, dB")
            axis.set_xticks([4, 8, 16, 28, 56, 112], labels=["4", "8", "16", "28", "56", "112"])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    with replacing(path) as place:
        figure.savefig(place, dpi=110, format="png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headrouter_shapes.reconstruction", description=__doc__)
    parser.add_argument("backbones", nargs="*", default=list(BACKBONES), help=f"which of {', '.join(BACKBONES)} (all)")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--device", default="auto", help="where to run (CUDA where there is one)")
    parser.add_argument("--out", type=Path, required=True, help="folder for reconstruction.json and reconstruction.png")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    return exit_code(_run, _parser().parse_args(arguments))


def _run(chosen: argparse.Namespace) -> None:
    unknown = [name for name in chosen.backbones if name not in BACKBONES]
    if unknown:
        raise InvalidInputError(f"`backbones` must be of {', '.join(BACKBONES)}; got {', '.join(unknown)}.")
    with output_folder(chosen.out):
        _measure(chosen)


def _measure(chosen: argparse.Namespace) -> None:
    some = drawings(chosen.pictures)
    drawn = render_array([case.source for case in some])
    measured: list[Point] = []
    ceilings = {}
    for name in chosen.backbones:
        values = {"device": chosen.device, "dtype": "float32"}
        backbone, _ = backbone_of(name, (), model="shapes", pipeline=None, values=values)
        returned = to_pictures(backbone.decode(backbone.encode_image(to_tensor(drawn).to(backbone.device))))
        ceilings[name] = fmean(psnr(*pair, most=CAP) for pair in zip(returned, drawn, strict=True))
        for guidance in chosen.guidance:
            measured += points(backbone, name, some, guidance)
    with replacing(chosen.out / "reconstruction.json") as place:
        place.write_text(
            json.dumps({"autoencoder, dB": ceilings, "points": measured}, indent=1) + "\n", encoding="utf-8"
        )
    plot(measured, ceilings, chosen.out / "reconstruction.png")


if __name__ == "__main__":
    sys.exit(main())
