"""Implement ``headrouter analyze drop``."""

import argparse
from typing import TYPE_CHECKING

from headrouter.cli.options import refuse_below_one
from headrouter.errors import InvalidInputError
from headrouter_analysis.command import add_analysis, add_semantics, load, model_of, record

if TYPE_CHECKING:
    from headrouter_analysis.profile import Profile

TEXT = """What a picture loses without the heads that moved most (arXiv:2411.15034, sec. 3.1). Drawn world only: it can be read.

Captions are generated from the same noise with all heads, without the --top heads that are most sensitive to each semantic, and
without as many heads drawn at random. The world's oracle reads all eight semantics in each; a semantic has changed
where it reads another value than with all heads. Intervals are 95 %, over pictures.

writes drop.json   shares and paired differences for each semantic, and over all of them
       drop.csv    shares of each semantic that changed (columns) without the heads of each (rows), and without random ones
       drop.png    how much more each semantic changes without its own heads than without random ones

example:
  headrouter analyze heads --model shapes --pairs 20 --steps 8 -o heads/
  headrouter analyze drop --model shapes --profile heads/heads.json --top 4 --pictures 24 --steps 8 -o drop/
"""


def add(analyses: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the analysis."""
    parser = add_analysis(analyses, "drop", "what a picture loses without some heads", TEXT, batch=8)
    add_profile(parser)
    parser.add_argument("--top", type=int, default=4, metavar="K", help="number of heads to drop (default: 4)")
    parser.add_argument("--pictures", type=int, default=24, metavar="N", help="number of captions (default: 24)")
    parser.add_argument(
        "--draws", type=int, default=2, metavar="N", help="number of random sets of heads for each batch (default: 2)"
    )
    add_semantics(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Drop, read, and say what changed."""
    from headrouter.imaging.picture import writable_folder
    from headrouter_analysis import figures, tables
    from headrouter_analysis.analyses.dropping import measure_dropping
    from headrouter_analysis.methods.dropout import HeadDropout

    refuse_below_one(arguments, "top", "pictures", "draws", "batch")
    profile = drawn_world_profile(arguments)
    for name in arguments.semantic:
        profile.index(name)
    profile.most_sensitive(profile.semantics[0], arguments.top)
    folder = writable_folder(arguments.output)
    runs = load(arguments, [HeadDropout()])
    found = measure_dropping(
        runs,
        profile,
        top=arguments.top,
        by=arguments.by,
        pictures=arguments.pictures,
        draws=arguments.draws,
        semantics=arguments.semantic,
        seed=arguments.seed,
        batch=arguments.batch,
        progress=not arguments.no_progress,
    )
    rows = [found.row(name) for name in found.semantics]
    shares = [
        {"heads of": name, **dict(zip(found.all_semantics, map(float, found.changed[place].mean(axis=0)), strict=True))}
        for place, name in enumerate(found.semantics)
    ]
    random = dict(zip(found.all_semantics, map(float, found.at_random.mean(axis=0)), strict=True))
    shares.append({"heads of": "(random)", **random})
    tables.write_csv(folder / "drop.csv", shares)
    lines = [(row["semantic"], *(row["more than random"][name] for name in ("mean", "low", "high"))) for row in rows]
    pooled = found.more_than_random
    lines.append(("all semantics", pooled.value, pooled.low, pooled.high))
    title = f"without the {arguments.top} heads of highest {arguments.by}, {model_of(arguments)}"
    figures.save(figures.differences(lines, title, "share changed, own heads minus random heads"), folder / "drop.png")
    summary = {"all semantics, more than random": pooled.as_dict()}
    if len(found.semantics) > 1:
        summary["all semantics, more than without other semantics' heads"] = found.more_than_others.as_dict()
    tables.write_json(
        folder / "drop.json",
        {
            **record(arguments, runs),
            "heads": {
                name: [list(head) for head in profile.most_sensitive(name, arguments.top, arguments.by)]
                for name in found.semantics
            },
            **summary,
            "semantics": rows,
        },
    )
    for row in rows:
        own, chance, more = (
            row[name] for name in ("changed without its heads", "changed without random heads", "more than random")
        )
        print(
            f"{row['semantic']:12} changed in {own['mean']:.0%} without its heads, {chance['mean']:.0%} without random ones: "
            f"{more['mean']:+.2f} [{more['low']:+.2f}, {more['high']:+.2f}]"
        )
    for name, value in summary.items():
        print(f"{name}: {value['mean']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]")
    print(f"{folder / 'drop.json'}  {folder / 'drop.png'}")
    return 0


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add the options of the profile and of the ranking of heads by it."""
    parser.add_argument(
        "--profile", required=True, metavar="FILE", help="heads.json, written by 'headrouter analyze heads'"
    )
    parser.add_argument(
        "--by",
        choices=("sensitivity", "specificity"),
        default="sensitivity",
        help="rank heads by how far they move, or by how much further than expected (default: sensitivity)",
    )


def drawn_world_profile(arguments: argparse.Namespace) -> "Profile":
    """Return the profile, if model and profile are of the drawn world, whose pictures can be read."""
    from headrouter_analysis.profile import Profile

    if arguments.model != "shapes":
        raise InvalidInputError(
            f"`--model` must be shapes (got {arguments.model!r}): results are read by the oracle of the drawn world. "
            "With other models use the methods themselves, `headrouter edit --method head-dropout` or `profile-routing`, and look."
        )
    profile = Profile.load(arguments.profile)
    from headrouter_shapes.world.vocabulary import SEMANTICS

    unknown = [name for name in profile.semantics if name not in SEMANTICS]
    if unknown:
        raise InvalidInputError(
            f"`--profile` has semantics that the drawn world does not know: {', '.join(unknown)}. Measure one with "
            "`headrouter analyze heads --model shapes`."
        )
    return profile
