"""Measure edits of drawn pictures, whose true answer is known.

Each edit changes one word of a caption. It succeeds if the result shows the new value and, where the picture should
change, is nearer to the true target than to the source. Preservation of the rest is measured in decibels.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrouter.cli.overrides import parse_overrides
from headrouter.errors import InvalidInputError

if TYPE_CHECKING:
    from headrouter.config.configuration import Placed
    from headrouter.experiments.configuration import Configuration
    from headrouter_shapes.bench.records import Row

STUDIES: Final = sorted(file.stem for file in (Path(__file__).parent / "bench" / "studies").glob("*.yaml"))
EXAMPLES = f"""examples:
  headrouter bench shapes --out out/                                   # rf and HeadRouter as they are
  headrouter bench shapes --inversion euler --method none --guidance 3 --out out/
  headrouter bench shapes --config parts --backbone sd3.5 --workers 2 --out out/
  headrouter bench shapes --config study.yaml --only "rf *" --size full --out out/

Studies that come with the package are named without .yaml: {", ".join(STUDIES)}.

OUT receives table.md, summary.png, edits-BACKBONE.png (the same edits by every configuration), and for each configuration a
sheet, every picture and a line of JSON for each edit. A run that was interrupted continues where it stopped when it is started
again, by the same code; one run at a time writes to a folder. Choose by the set `tune`; use
`test` once, for what you report.
"""
_ALONE = ("name", "inversion", "method", "preset", "keep", "push", "steps", "guidance", "seed")


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
    alone.add_argument("--inversion", metavar="NAME", help="name of the inversion (default: rf)")
    alone.add_argument(
        "--method", action="append", metavar="NAME", help="method that steers (default: headrouter); repeat for several"
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
    machine.add_argument("--batch", type=int, metavar="N", help="number of edits in one model call (default: 8)")
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    machine.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, save, and print the table."""
    from headrouter.imaging.picture import output_folder
    from headrouter_shapes.bench import running
    from headrouter_shapes.claim import claimed

    chosen = _chosen(arguments)
    if arguments.list:
        for one in chosen:
            print(f"{one.backbone_name}  {one.name}  {one.hash}")
        return 0
    count = _count(arguments.size)
    if arguments.against is not None:
        _refuse_absent(arguments.against, chosen)
    with output_folder(arguments.out) as folder, claimed(folder):
        rows = running.run(
            chosen,
            folder,
            set=arguments.cases,
            count=count,
            workers=arguments.workers,
            batch=running.BATCH if arguments.batch is None else arguments.batch,
            kinds=arguments.kind or (),
            with_references=not arguments.no_references,
            device=arguments.device,
            progress=not arguments.no_progress,
        )
        _report(rows, arguments, count, chosen)
    return 0


def _chosen(arguments: argparse.Namespace) -> "list[Configuration]":
    from fnmatch import fnmatchcase

    from headrouter_shapes.bench.study import read_configuration, read_study

    overrides = _parameters(arguments.param)
    if arguments.config is None:
        names = arguments.method or ["headrouter"]
        data = {
            "inversion": arguments.inversion or "rf",
            "method": names[0] if len(names) == 1 else names,
            **{key: getattr(arguments, key) for key in _ALONE[3:] if getattr(arguments, key) is not None},
        }
        words = [str(data["inversion"]), *names, *(f"{key}={data[key]}" for key in _ALONE[3:] if key in data)]
        name = arguments.name or " ".join([*words, *arguments.param])
        chosen = [
            read_configuration(name, arguments.model or "shapes", {**data, "backbone": backbone}, overrides)
            for backbone in arguments.backbone or ["sd3.5"]
        ]
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


def _report(rows: "list[Row]", arguments: argparse.Namespace, count: int, chosen: "list[Configuration]") -> None:
    from itertools import groupby
    from pathlib import Path

    from headrouter.cli.table import table, terminal_width
    from headrouter.files import write_whole
    from headrouter_shapes.bench import plots, report, running, sets
    from headrouter_shapes.bench.paired import paired_rows
    from headrouter_shapes.bench.records import Records

    folder = Path(arguments.out) / arguments.cases
    summaries = report.summarise(rows)
    paired = {} if arguments.against is None else paired_rows(rows, arguments.against)
    text = report.markdown(summaries, f"Shapes, set {arguments.cases}", paired)
    write_whole(folder / "table.md", text.encode())
    plots.save_frontier(summaries, folder / "summary.png")
    some = sets.chosen_cases(arguments.cases, count, arguments.kind or ())
    references = [] if arguments.no_references else running.references(chosen)
    measured = [Records(Path(arguments.out), arguments.cases, one) for one in (*references, *chosen)]
    for records in measured:
        plots.save_case_sheet(records, some, records.folder / "sheet.png")
    for backbone, several in groupby(measured[len(references) :], key=lambda one: one.configuration.backbone_name):
        plots.save_comparison(list(several), some, folder / f"edits-{backbone}.png")
    for backbone, group in groupby(summaries, key=lambda one: one.backbone):
        print(f"\n{backbone}, {len(some)} edits of the set {arguments.cases}\n")
        print(table(report.HEADINGS, [report.cells(one) for one in group], terminal_width()))
        if compared := paired.get(backbone):
            print(f"\nagainst {arguments.against}, edit by edit; positive is better\n")
            print(table(report.PAIRED_HEADINGS, [report.paired_cells(one) for one in compared], terminal_width()))
    print(
        f"\n{folder / 'table.md'}, {folder / 'summary.png'}, {folder / 'edits-*.png'}, and sheet.png of each configuration"
    )
