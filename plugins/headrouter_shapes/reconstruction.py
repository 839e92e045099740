"""``python -m headrouter_shapes.reconstruction``: how well each trajectory holds a picture, over model calls.

Held-out drawings are edited with their own caption and without steering, at several numbers of steps. Each point of the
plot is the mean PSNR to the drawing with its 95 % interval. The dashed line is what the autoencoder alone returns.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
from PIL import Image
from tqdm import tqdm

from headrouter.assembly import inversion_of
from headrouter.backbone import Backbone
from headrouter.editor import Editor
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.picture import psnr
from headrouter_shapes.build import BACKBONES
from headrouter_shapes.evaluate import evaluation_scenes
from headrouter_shapes.files import replacing
from headrouter_shapes.folder import load_pipeline
from headrouter_shapes.pool import to_pictures, to_tensor
from headrouter_shapes.render import render_array
from headrouter_shapes.sampling import decode_latents, encode_pictures
from headrouter_shapes.weights import model_path

TRAJECTORIES: Final = ("euler", "rf", "rf-sde", "rf-solver", "fireflow", "flowedit", "sdedit")
STEPS: Final = (2, 4, 7, 14, 28, 60)
CALLS: Final = (4, 120)
"""Fewest and most model calls that are shown."""


class Point(TypedDict):
    """One trajectory at one number of steps: ``psnr`` dB of each picture."""

    backbone: str
    guidance: float
    inversion: str
    steps: int
    calls: int
    psnr: list[float]


def points(
    backbone: Backbone, name: str, pictures: Sequence[Image.Image], captions: Sequence[str], guidance: float
) -> Iterator[Point]:
    """Reconstruct all pictures by every trajectory at every number of steps that stays within :data:`CALLS`."""
    for inversion in tqdm(TRAJECTORIES, desc=f"{name}, guidance {guidance:g}", unit="trajectory"):
        editor = Editor(backbone, inversion_of(inversion), None, progress=False)
        for steps in STEPS:
            found = []
            for picture, caption in zip(pictures, captions, strict=True):
                found.append(editor.reconstruct(picture, caption, steps=steps, guidance=guidance))
                if not CALLS[0] <= found[0].cost.calls <= CALLS[1]:
                    break
            else:
                yield Point(
                    backbone=name,
                    guidance=guidance,
                    inversion=inversion,
                    steps=steps,
                    calls=found[0].cost.calls,
                    psnr=[one.psnr for one in found],
                )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of values and half the width of its 95 % interval (normal).

    >>> interval([1.0, 3.0])
    (2.0, 1.96)
    """
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), round(1.96 * spread / len(values) ** 0.5, 12)


def plot(measured: Sequence[Point], ceilings: dict[str, float], path: Path) -> None:
    """Draw PSNR over model calls: a row for each guidance, a column for each backbone."""
    from matplotlib.figure import Figure

    backbones = list(dict.fromkeys(point["backbone"] for point in measured))
    guidances = sorted({point["guidance"] for point in measured})
    figure = Figure(figsize=(4.6 * len(backbones), 3.6 * len(guidances)), layout="constrained")
    axes = figure.subplots(len(guidances), len(backbones), sharex=True, sharey=True, squeeze=False)
    for row, guidance in zip(axes, guidances, strict=True):
        for axis, backbone in zip(row, backbones, strict=True):
            for number, inversion in enumerate(TRAJECTORIES):
                chosen = [
                    p
                    for p in measured
                    if (p["backbone"], p["guidance"], p["inversion"]) == (backbone, guidance, inversion)
                ]
                means, halves = zip(*(interval(p["psnr"]) for p in chosen), strict=True) if chosen else ((), ())
                axis.errorbar(
                    [p["calls"] for p in chosen],
                    means,
                    halves,
                    label=inversion,
                    marker="o",
                    ms=3,
                    lw=1.2,
                    color=f"C{number}",
                )
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
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--device", default=None, help="where to run (CUDA where there is one)")
    parser.add_argument("--out", type=Path, required=True, help="folder for reconstruction.json and reconstruction.png")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for an error that the user can act on."""
    chosen = _parser().parse_args(arguments)
    try:
        unknown = [name for name in chosen.backbones if name not in BACKBONES]
        if unknown:
            raise InvalidInputError(f"`backbones` must be of {', '.join(BACKBONES)}; got {', '.join(unknown)}.")
        if chosen.pictures < 1:
            raise InvalidInputError(f"`--pictures` must be at least 1; got {chosen.pictures}.")
        scenes, captions = evaluation_scenes(chosen.pictures, chosen.seed)
        drawn = render_array(scenes)
        pictures = [Image.fromarray(picture) for picture in drawn]
        measured: list[Point] = []
        ceilings = {}
        for name in chosen.backbones:
            pipeline = load_pipeline(model_path(name))
            returned = to_pictures(decode_latents(pipeline, encode_pictures(pipeline, to_tensor(drawn))))
            pairs = zip(pictures, returned, strict=True)
            ceilings[name] = float(np.mean([psnr(Image.fromarray(one), picture) for picture, one in pairs]))
            backbone = Editor(name, "euler", None, model="shapes", device=chosen.device, progress=False).backbone
            for guidance in chosen.guidance:
                measured += points(backbone, name, pictures, captions, guidance)
    except HeadRouterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with replacing(chosen.out / "reconstruction.json") as place:
        place.write_text(
            json.dumps({"autoencoder, dB": ceilings, "points": measured}, indent=1) + "\n", encoding="utf-8"
        )
    plot(measured, ceilings, chosen.out / "reconstruction.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
