"""Implement ``headrouter analyze maps``."""

import argparse
import math
import re
from typing import TYPE_CHECKING, Any

from headrouter.cli.options import refuse_below_one
from headrouter.errors import InvalidInputError
from headrouter_analysis.command import add_analysis, load, model_of, record

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from headrouter_analysis.runs import Runs

TEXT = """Where in a picture each word acts, and how strongly the text holds the image in each block.

With a picture, the model is shown it at every noise level of the grid together with the prompt; without one, the prompt's own
picture is generated and looked at on the way. T2I (the default) is the attention that each image token gives to the word; I2T is
the attention that the word gives to each image token. A word of several tokens, or at several places, is the mean over them.

writes maps-WORD.png   the map over the picture, a panel for each block, step or head that --per keeps
       maps.npz        the maps as numbers
       depth.png       share of the image's attention that goes to text, by block (arXiv:2411.15034, sec. 3.2)
       maps.json       what was kept, and the table behind depth.png

examples:
  headrouter analyze maps --model shapes --prompt "a large plain blue star in the center, filled, on a mint background" \\
      --word star --word mint -o maps/
  headrouter analyze maps photo.png --backbone flux --prompt "a photo of a cat" --word cat --per block --per head --blocks 17 18
"""


def add(analyses: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the analysis."""
    parser = add_analysis(analyses, "maps", "where in a picture each word acts", TEXT, batch=1)
    parser.add_argument("image", nargs="?", help="picture to analyse (default: generate one)")
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="prompt of the picture")
    parser.add_argument(
        "--word",
        action="append",
        default=[],
        metavar="WORD",
        help="a word of the prompt, or several in a row; repeat for more",
    )
    parser.add_argument(
        "--direction",
        choices=("T2I", "I2T"),
        default="T2I",
        help="T2I: attention to text keys; I2T: to image keys (default: T2I)",
    )
    parser.add_argument(
        "--per",
        action="append",
        choices=("step", "block", "head"),
        default=None,
        help="axis to keep instead of averaging over it; repeat for more (default: block)",
    )
    parser.add_argument("--blocks", type=int, nargs="+", metavar="N", help="only these blocks")
    parser.add_argument("--heads", type=int, nargs="+", metavar="N", help="only these heads of each block")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Look, draw, and say where things are."""
    from headrouter.imaging.picture import load_picture, writable_folder
    from headrouter.prompts.prompt import Prompt
    from headrouter_analysis.methods.depth import TextShare
    from headrouter_analysis.methods.maps import AXES, AttentionMaps

    refuse_below_one(arguments, "batch")
    plain = Prompt(arguments.prompt, {})
    words = tuple(dict.fromkeys(arguments.word or plain.different_words))
    for word in words:
        plain.find(word)
    if not words:
        raise InvalidInputError(f"`--prompt` must have words (got {arguments.prompt!r}).")
    picture = None if arguments.image is None else load_picture(arguments.image)
    if picture is not None and arguments.guidance is not None:
        raise InvalidInputError(
            "`--guidance` is for generated pictures; one that is given is looked at without. Leave it out."
        )
    folder = writable_folder(arguments.output)
    keep = tuple(axis for axis in AXES if axis in (arguments.per or ["block"]))
    method = AttentionMaps(
        direction=arguments.direction,
        words=(words,),
        keep=keep,
        blocks=None if arguments.blocks is None else tuple(arguments.blocks),
        heads=None if arguments.heads is None else tuple(arguments.heads),
    )
    runs = load(arguments, [method])
    _refuse_many_panels(_axis_names(runs, method))
    methods = [method, TextShare()]
    prompts, seeds = [arguments.prompt], [arguments.seed]
    if picture is None:
        sampled = runs.generate(prompts, seeds, methods)
        (picture,) = runs.pictures(sampled)
    else:
        sampled = runs.look([picture], prompts, seeds, methods)
    maps, share = sampled.diagnostics[0]["attention_maps"][0], sampled.diagnostics[1]["text_share"][0].nanmean(dim=0)
    _write(arguments, runs, folder, picture, words, method, maps, share)
    return 0


def _write(
    arguments: argparse.Namespace,
    runs: "Runs",
    folder: "Path",
    picture: Any,
    words: tuple[str, ...],
    method: Any,
    maps: "Tensor",
    share: "Tensor",
) -> None:
    import io

    import numpy as np

    from headrouter.files import write_whole
    from headrouter.imaging.picture import save_picture
    from headrouter_analysis import figures, tables

    (prompt,) = runs.backbone.encode_prompts([arguments.prompt])
    positions = {word: prompt.find(word) for word in words}
    names = _axis_names(runs, method)
    save_picture(picture, folder / "picture.png")
    files = []
    for number, word in enumerate(words):
        panels, rows, columns = _panels(maps[number], names)
        title = f"{word!r}, {arguments.direction}, {model_of(arguments)}"
        figure = figures.overlays(picture, panels, rows, columns, title)
        files.append(f"{'-'.join(['maps', str(number), *re.findall('[a-z0-9]+', word.casefold())])}.png")
        figures.save(figure, folder / files[-1])
    figures.save(
        figures.depth(share, positions, f"attention of image tokens, {model_of(arguments)}"), folder / "depth.png"
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, maps=maps.numpy(), words=np.array(words), axes=np.array(["word", *names, "row", "column"])
    )
    write_whole(folder / "maps.npz", buffer.getvalue())
    everything = sorted({position for where in positions.values() for position in where})
    tables.write_json(
        folder / "maps.json",
        {
            **record(arguments, runs),
            "prompt": arguments.prompt,
            "direction": arguments.direction,
            "words": {word: list(where) for word, where in positions.items()},
            "axes": names,
            "grid": list(maps.shape[-2:]),
            "figures": files,
            "text share by block": {
                "all text tokens": _rounded(share.sum(dim=1)),
                "these words": _rounded(share[:, everything].sum(dim=1)),
                **{
                    f"mean token of {word}": _rounded(share[:, list(where)].mean(dim=1))
                    for word, where in positions.items()
                },
            },
        },
    )
    print("\n".join(str(folder / name) for name in [*files, "depth.png", "maps.npz", "maps.json"]))


def _axis_names(runs: "Runs", method: Any) -> dict[str, list[int]]:
    """Return the numbers along each kept axis."""
    sites = runs.backbone.sites
    heads = range(max(site.heads for site in sites)) if method.heads is None else dict.fromkeys(method.heads)
    every = {
        "step": range(runs.settings["steps"]),
        "block": range(len(sites)) if method.blocks is None else sorted(set(method.blocks)),
        "head": heads,
    }
    return {axis: list(numbers) for axis, numbers in every.items() if axis in method.keep}


def _refuse_many_panels(names: dict[str, list[int]]) -> None:
    from headrouter_analysis import figures

    kept = list(names)[-2:]
    panels = math.prod(len(names[axis]) for axis in kept)
    if panels > figures.MOST_PANELS:
        raise InvalidInputError(
            f"`--per` {' and '.join(kept)} would draw {panels} panels for each word, more than {figures.MOST_PANELS}. Choose some "
            "with `--blocks` or `--heads`, or fewer `--steps`."
        )


def _panels(maps: "Tensor", names: dict[str, list[int]]) -> "tuple[Tensor, list[str], list[str]]":
    """Return maps of one word as ``[rows, columns, h, w]``, averaged over steps if three axes are kept."""
    kept = list(names)
    if len(kept) == 3:
        maps, kept = maps.nanmean(dim=0), kept[1:]
    headings = [[f"{axis} {number}" for number in names[axis]] for axis in kept]
    if len(kept) < 2:
        headings = [[""], *headings] if kept else [[""], ["mean"]]
    rows, columns = headings
    return maps.reshape(len(rows), len(columns), *maps.shape[-2:]), rows, columns


def _rounded(values: "Tensor") -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
