"""Implement ``headrouter analyze blocks``."""

import argparse
from typing import TYPE_CHECKING

from headrouter.cli.options import refuse_below_one
from headrouter.errors import InvalidInputError
from headrouter_analysis.command import add_analysis, load, model_of, record

if TYPE_CHECKING:
    from headrouter_analysis.analyses.blocks import Masked

TEXT = """Which blocks' maps find the object of a word, scored against masks.

The model is shown each picture at every noise level of the grid with its prompt. Every block's map of the object's word is compared
with the object's mask: area under the ROC curve (0.5 is chance, 1 is perfect), and intersection over union at each map's best
threshold, or at --threshold times its maximum. Beside it, how much of their attention image tokens give to the text in each block.
Means over the pictures with 95 % intervals. With --model shapes the pictures are drawn and the masks exact; for other
models list pictures of your own in a YAML or JSON file, paths relative to it:

  - {image: cat.png, mask: cat-mask.png, prompt: a photo of a cat on a sofa, word: cat}

A mask is as large as its picture, white where the object is.

writes blocks.json   {"blocks": [best first, ...], "scores": [...]}, which local blending can be given
       blocks.csv    the scores as a table
       blocks.png    the scores with their intervals

examples:
  headrouter analyze blocks --model shapes --pictures 48 --steps 8 -o blocks/
  headrouter analyze blocks --backbone flux --data my-masks.yaml --threshold 0.3 -o blocks/
"""


def add(analyses: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the analysis."""
    parser = add_analysis(analyses, "blocks", "which blocks' maps find the object of a word", TEXT, batch=8)
    parser.add_argument("--data", metavar="FILE", help="YAML or JSON list of pictures with masks, prompts and words")
    parser.add_argument("--pictures", type=int, default=64, metavar="N", help="number of drawn pictures (default: 64)")
    parser.add_argument(
        "--direction",
        choices=("T2I", "I2T"),
        default="T2I",
        help="T2I: attention to text keys; I2T: to image keys (default: T2I)",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="0..1", help="threshold of the overlap (default: each map's best)"
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help='blocks listed under "blocks" (default: 5)')
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Score, rank, and say the order."""
    refuse_below_one(arguments, "pictures", "top", "batch")
    if arguments.guidance is not None:
        raise InvalidInputError("`--guidance` has no effect here: pictures are looked at without. Leave it out.")
    if arguments.threshold is not None and not 0 < arguments.threshold < 1:
        raise InvalidInputError(f"`--threshold` must lie between 0 and 1 (got {arguments.threshold}).")
    items = items_of(arguments)
    from headrouter.imaging.picture import writable_folder
    from headrouter_analysis import figures, tables
    from headrouter_analysis.analyses.blocks import rank_blocks
    from headrouter_analysis.methods.maps import AttentionMaps

    folder = writable_folder(arguments.output)
    runs = load(arguments, [AttentionMaps()])
    scores = rank_blocks(
        runs,
        items,
        direction=arguments.direction,
        threshold=arguments.threshold,
        batch=arguments.batch,
        progress=not arguments.no_progress,
    )
    overlap = "overlap at the best threshold" if arguments.threshold is None else f"overlap at {arguments.threshold:g}"
    rows = [score.as_dict() for score in scores]
    flat = [
        {
            **{name: row[name] for name in ("block", "path", "stream")},
            **{
                f"{name}_{part}": row[name][part] for name in ("auc", "iou", "text") for part in ("mean", "low", "high")
            },
        }
        for row in rows
    ]
    tables.write_csv(folder / "blocks.csv", flat)
    title = f"{arguments.direction}, {len(items)} pictures, {model_of(arguments)}"
    figures.save(figures.ranking(scores, title, overlap), folder / "blocks.png")
    tables.write_json(
        folder / "blocks.json",
        {
            "blocks": [score.block for score in scores[: arguments.top]],
            **record(arguments, runs),
            "pictures": len(items),
            "direction": arguments.direction,
            "iou": overlap,
            "scores": rows,
        },
    )
    for score in scores:
        print(
            f"block {score.block:3}  area under the curve {score.area_under_curve}  {overlap} {score.overlap}  "
            f"text gets {score.text_share}"
        )
    print(f"{folder / 'blocks.json'}  {folder / 'blocks.png'}")
    return 0


def items_of(arguments: argparse.Namespace) -> "list[Masked]":
    """Return pictures with masks: the user's, or drawn ones for the model of the drawn world."""
    from headrouter_analysis.analyses.blocks import drawn_masks
    from headrouter_analysis.analyses.masks import read_masks

    if arguments.data is not None:
        return read_masks(arguments.data, arguments.seed)
    if arguments.model != "shapes":
        raise InvalidInputError(
            "`--data` must name a list of pictures with masks: only `--model shapes` has pictures of its own. See "
            "`headrouter analyze blocks --help`."
        )
    return drawn_masks(arguments.pictures, arguments.seed)
