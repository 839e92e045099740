"""Measure edits of drawn pictures, whose true answer is known.

Each edit changes one word of a caption. It succeeds if the result shows the new value and, where the picture should
change, is nearer to the true target than to the source. Preservation of the rest is measured in decibels.

The same as `headrouter experiment run` on the data set `shapes`, which takes its place with the next release.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrouter.errors import InvalidInputError

if TYPE_CHECKING:
    from headrouter.config.configuration import Placed
    from headrouter.experiments.configuration import Configuration

STUDIES: Final = sorted(file.stem for file in (Path(__file__).parent / "bench" / "studies").glob("*.yaml"))
EXAMPLES = f"""examples:
  headrouter bench shapes --out out/                                   # rf and HeadRouter as they are
  headrouter bench shapes --inversion euler --method none --guidance 3 --out out/
  headrouter bench shapes --config parts --backbone sd3.5 --workers 2 --out out/
  headrouter bench shapes --config study.yaml --only "rf *" --size full --out out/

Studies that come with the package are named without .yaml: {", ".join(STUDIES)}.

OUT/SET is a run folder, as `headrouter experiment run` writes it: table.md, table.csv, summary.png, edits-BACKBONE.png (the same
edits by every configuration), every picture, and a line of JSON for each edit. A run that was interrupted continues where it
stopped when it is started again, by the same code. Choose by the set `tune`; use `test` once, for what you report.
"""
_ALONE = ("name", "inversion", "operator", "method", "preset", "keep", "push", "steps", "guidance", "seed")


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    bench = subcommands.add_parser("bench", help="measure edits against true answers", description="Measure edits.")
    parser = bench.add_subparsers(title="benchmarks", metavar="NAME", dest="benchmark", required=True).add_parser(
        "shapes",
        help="edits of drawn pictures, measured against the true answer",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the results, new or continued")
    parser.add_argument(
        "--set", dest="cases", default="tune", metavar="NAME", help="set of edits: tune (default) or test"
    )
    parser.add_argument(
        "--size", default="quick", metavar="SIZE", help="quick: 80 edits (default); full: 400; or a number of edits"
    )
    parser.add_argument(
        "--kind", action="append", metavar="KIND", help="kind of edits to run; repeat for several (default: all)"
    )
    parser.add_argument("--config", metavar="STUDY", help="YAML file of configurations, or the name of a study")
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="names of configurations to run, for instance 'rf *' (default: all)",
    )
    parser.add_argument("--list", action="store_true", help="only list the configurations, after checking them")
    parser.add_argument("--against", metavar="NAME", help="also compare each configuration with this one, edit by edit")
    parser.add_argument("--no-references", action="store_true", help="omit the reference rows")
    parts = parser.add_argument_group("what edits", "With --config, --backbone and --model go before the file's.")
    parts.add_argument(
        "--backbone", action="append", metavar="NAME", help="model family (default: sd3.5); repeat for several"
    )
    parts.add_argument("--model", metavar="NAME", help="weights: short name or folder (default: shapes)")
    alone = parser.add_argument_group("one configuration", "Without --config.")
    alone.add_argument("--name", help="name of the configuration (default: made from its parts)")
    alone.add_argument("--inversion", metavar="NAME", help="name of the inversion (default: that of the backbone)")
    alone.add_argument(
        "--operator", action="append", metavar="NAME", help="velocity operator (default: none); repeat for several"
    )
    alone.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="method that steers (default: headrouter, or none with instruct); repeat for several",
    )
    alone.add_argument("--preset", metavar="NAME", help="published or measured values, listed by 'headrouter presets'")
    alone.add_argument("--keep", type=float, metavar="0..1", help="share of the source to keep (η)")
    alone.add_argument("--push", type=float, metavar="0..", help="strength of the edit (γ)")
    alone.add_argument("--steps", type=int, help="steps of the time grid")
    alone.add_argument("--guidance", type=float, help="weight of the prompt")
    alone.add_argument("--seed", type=int, help="seed of all noise (default: 0)")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="PART.NAME=VALUE",
        help="value of any parameter, such as method.gamma=0.3",
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--workers", type=int, default=1, help="number of threads, each with its own model (default: 1)"
    )
    machine.add_argument(
        "--batch", type=int, default=8, metavar="N", help="number of edits in one model call (default: 8)"
    )
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    machine.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, save, and print the tables."""
    from headrouter.cli.report_text import show
    from headrouter.experiments import report
    from headrouter.experiments import run as run_experiment
    from headrouter_shapes.bench.sets import SIZES
    from headrouter_shapes.bench.study import experiment, part_of

    chosen = _chosen(arguments)
    if arguments.list:
        for one in chosen:
            print(f"{one.backbone_name}  {one.name}  {one.hash}")
        return 0
    if arguments.against is not None:
        _refuse_absent(arguments.against, chosen)
    asked = experiment(
        chosen,
        set=arguments.cases,
        count=SIZES["full"],
        with_references=not arguments.no_references,
        baseline=arguments.against or "",
    )
    items = part_of(asked, _count(arguments.size), arguments.kind or ())
    folder = Path(arguments.out) / arguments.cases
    run_experiment(
        asked,
        folder,
        items=items,
        workers=arguments.workers,
        batch=arguments.batch,
        device=arguments.device,
        progress=not arguments.no_progress,
    )
    show(report(folder, arguments.against, only=[item.key for item in items]))
    return 0


def _chosen(arguments: argparse.Namespace) -> "list[Configuration]":
    from fnmatch import fnmatchcase

    from headrouter.experiments.composing import with_defaults
    from headrouter_shapes.bench.study import read_configuration, read_study

    overrides = _parameters(arguments.param)
    if arguments.config is None:
        given = {key: getattr(arguments, key) for key in _ALONE[1:] if getattr(arguments, key) is not None}
        given |= {key: given[key][0] for key in ("operator", "method") if len(given.get(key, ())) == 1}
        chosen = []
        for backbone in arguments.backbone or ["sd3.5"]:
            data = with_defaults({"backbone": backbone, **given})
            words = [data["inversion"], *(arguments.operator or ()), *(arguments.method or [data["method"]])]
            words += [f"{key}={given[key]}" for key in _ALONE[4:] if key in given]
            name = arguments.name or " ".join([*words, *arguments.param])
            chosen.append(read_configuration(name, arguments.model or "shapes", data, overrides))
    else:
        if ignored := [f"--{key}" for key in _ALONE if getattr(arguments, key) is not None]:
            raise InvalidInputError(
                f"`--config` says what each configuration is; leave out {', '.join(ignored)}, or change one parameter of "
                "all configurations with `--param`."
            )
        chosen = read_study(arguments.config, arguments.backbone or (), arguments.model, overrides)
    only = arguments.only or ["*"]
    kept = [one for one in chosen if any(fnmatchcase(one.name, pattern) for pattern in only)]
    if not kept:
        known = ", ".join(dict.fromkeys(one.name for one in chosen))
        raise InvalidInputError(f"`--only` fits none of the configurations: {known}.")
    return kept


def _refuse_absent(baseline: str, chosen: "list[Configuration]") -> None:
    for backbone in dict.fromkeys(one.backbone_name for one in chosen):
        names = [one.name for one in chosen if one.backbone_name == backbone]
        if baseline not in names:
            raise InvalidInputError(
                f"`--against` {baseline!r} is none of the configurations of {backbone}: {', '.join(names)}."
            )


def _parameters(texts: "list[str]") -> "list[Placed]":
    """Add ``--param``, which other commands call ``--set``."""
    from headrouter.cli.overrides import parse_overrides
    from headrouter.config.configuration import Placed

    try:
        found = parse_overrides(texts)
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("--set", "--param")) from error
    return [Placed(one.path, one.value, f"--param {'.'.join(one.path)}") for one in found]


def _count(size: str) -> int:
    from headrouter_shapes.bench.sets import SIZES

    if size in SIZES:
        return SIZES[size]
    if not size.isdecimal():
        raise InvalidInputError(f"`--size` must be quick, full or a number of edits (got {size!r}).")
    return int(size)
