"""Implement ``headrouter analyze heads``."""

import argparse
from typing import TYPE_CHECKING

from headrouter.cli.options import refuse_below_one
from headrouter.errors import InvalidInputError
from headrouter_analysis.command import add_analysis, add_semantics, load, model_of, record

if TYPE_CHECKING:
    from headrouter_analysis.analyses.pairs import Pair

TEXT = """How far every attention head moves when one semantic of the prompt changes (arXiv:2411.15034, sec. 3.1).

Two pictures are generated from the same noise with two prompts that differ in one semantic; each head's output is compared,
1 - cosine, over many pairs. Prompts are "a, w, u" from a vocabulary of eight semantics; with --model shapes they are captions of
the drawn world, where a pair differs in one word alone.

writes heads.json   mean, deviation and interval of every head, and whether heads specialise; methods can be pointed at it.
                    `heads` ranks all of them, those first that move most: --set method.heads=heads/heads.json of injection
       heads.csv    the same as one row for each semantic, block and head
       heads.png    heat map, semantics by heads
       pairs.csv    the prompts and seeds

examples:
  headrouter analyze heads --model shapes --pairs 20 --steps 8 -o heads/
  headrouter analyze heads --backbone flux --vocabulary my-words.yaml --semantic colour --semantic style -o heads/
"""


def add(analyses: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the analysis."""
    parser = add_analysis(analyses, "heads", "how sensitive each head is to each semantic", TEXT, batch=8)
    pairs = parser.add_argument_group("pairs of prompts")
    pairs.add_argument(
        "--pairs", type=int, default=500, metavar="N", help="number of pairs of each semantic (default: 500)"
    )
    add_semantics(pairs)
    pairs.add_argument("--vocabulary", metavar="FILE", help="YAML or JSON with the words of each semantic")
    pairs.add_argument(
        "--form",
        choices=("independent", "same_context"),
        default="independent",
        help="draw the other words of a pair twice, or once for both prompts (default: independent)",
    )
    parser.add_argument(
        "--compare", choices=("image", "all"), default="image", help="tokens to compare (default: image)"
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, draw, and say what was found."""
    refuse_below_one(arguments, "pairs", "batch")
    pairs = pairs_of(arguments)
    from headrouter.imaging.picture import writable_folder
    from headrouter_analysis import figures, tables
    from headrouter_analysis.analyses.heads import analyse_heads
    from headrouter_analysis.analyses.pairs import as_rows
    from headrouter_analysis.methods.sensitivity import HeadSensitivity

    folder = writable_folder(arguments.output)
    method = HeadSensitivity(compare=arguments.compare)
    runs = load(arguments, [method])
    said = {**record(arguments), "compare": arguments.compare}
    analysis = analyse_heads(
        runs, pairs, method=method, batch=arguments.batch, record=said, progress=not arguments.no_progress
    )
    profile, test = analysis.profile, analysis.specialisation
    tables.write_csv(folder / "pairs.csv", as_rows(pairs))
    tables.write_csv(folder / "heads.csv", tables.head_rows(profile))
    figures.save(figures.head_heat_map(profile, model_of(arguments)), folder / "heads.png")
    tables.write_json(folder / "heads.json", profile.as_dict())
    for name in profile.semantics:
        best = ", ".join(
            f"{block}.{head}" for block, head in profile.most_sensitive(name, min(5, profile.mean[0].numel()))
        )
        print(f"{name:12} moves most: {best}  (layer.head)")
    if len(profile.semantics) > 1:
        print(
            f"share of the variance of heads' profiles that lies between semantics: {test.observed:.3f}; by chance "
            f"{test.expected:.3f}, 95th percentile {test.ninety_fifth:.3f}, p = {test.p:.4f}"
        )
    print(f"{folder / 'heads.json'}  {folder / 'heads.png'}")
    return 0


def pairs_of(arguments: argparse.Namespace) -> "list[Pair]":
    """Return pairs of the drawn world for its own models, of a vocabulary for all others."""
    from headrouter_analysis.analyses.pairs import BUNDLED, draw_pairs, drawn_pairs, read_vocabulary

    if arguments.model == "shapes" and arguments.vocabulary is None:
        if arguments.form != "independent":
            raise InvalidInputError(
                "`--form` is for vocabularies: a pair of the drawn world has the same context by itself. Leave it out."
            )
        return drawn_pairs(arguments.pairs, seed=arguments.seed, semantics=arguments.semantic)
    words = read_vocabulary(arguments.vocabulary or BUNDLED)
    return draw_pairs(words, arguments.pairs, form=arguments.form, seed=arguments.seed, semantics=arguments.semantic)
