"""Compare backbones, inversions, methods and other editors over a data set, from one YAML file; docs/experiments.md."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrouter.cli.options import add_run

if TYPE_CHECKING:
    from headrouter.experiments.dataset import Item
    from headrouter.experiments.experiment import Experiment
    from headrouter.experiments.planning.plan import Plan
    from headrouter.experiments.run_folder.cell import CellRecord

EXAMPLES = """examples:
  headrouter experiment init --dataset shapes -o shapes.yaml
  headrouter experiment plan shapes.yaml
  headrouter experiment run shapes.yaml -o out/ --limit 8
  headrouter experiment run shapes.yaml -o out/
  headrouter experiment report out/

A run that ended in whatever way goes on with the same command.
"""


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the commands."""
    experiment = subcommands.add_parser(
        "experiment",
        help="compare parts over a data set, from one file",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = experiment.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors")
        parser.set_defaults(run=run)
        return parser

    init = command("init", _init, "write a commented file to begin with")
    init.add_argument(
        "--dataset", default="shapes", metavar="NAME", help="data set that the file is for (default: shapes)"
    )
    init.add_argument("-o", "--output", metavar="FILE", help="file to write (default: print it)")
    plan = command("plan", _plan, "show cells, model calls, skipped pairs, time, and all that is missing")
    _add_file(plan)
    plan.add_argument("--measure", action="store_true", help="run an edit or two of each model to estimate the time")
    plan.add_argument(
        "--constants",
        metavar="FILE",
        help="simulate the schedule of --workers with the times in a YAML file, docs/machines.md",
    )
    run = command("run", _run, "run the cells that are missing, measure and record them")
    _add_file(run)
    run.add_argument("--retry-failed", action="store_true", help="run cells again that failed")
    run.add_argument("--metrics-only", action="store_true", help="measure the edits that are there, and make none")
    status = command("status", _status, "show how far a run is")
    status.add_argument("folder", metavar="DIR", help="run folder")
    report = command("report", _report, "write the tables, figures and the page of a run")
    report.add_argument("folder", metavar="DIR", help="run folder")
    report.add_argument(
        "--baseline",
        metavar="NAME",
        help="name or key of the configuration that the others are compared with (default: the file's)",
    )
    report.add_argument(
        "--page",
        metavar="FOLDER",
        help="write the page there, whole, with copies of all pictures (default: DIR/report)",
    )
    report.add_argument("--paper", action="store_true", help="write LaTeX tables and figures for papers, too")
    diff = command("diff", _diff, "compare two runs")
    diff.add_argument("folder", metavar="DIR", help="run folder")
    diff.add_argument("other", metavar="OTHER", help="run folder to compare it with")
    merge = command("merge", _merge, "put the shares of several machines together")
    merge.add_argument("folders", nargs="+", metavar="DIR", help="run folders of shares")
    merge.add_argument("-o", "--output", required=True, metavar="DIR", help="run folder to put them into")
    command("schema", _schema, "print the JSON Schema of experiment files")


def _add_file(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "experiment", "steps=10")
    parser.add_argument(
        "--item", action="append", default=[], metavar="KEY", help="take this edit alone; repeat for several"
    )
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="take share I of N, by pictures")
    parser.add_argument(
        "--executor", metavar="NAME", help="where the workers are: local or ray (default: the file's, else local)"
    )


def _init(arguments: argparse.Namespace) -> int:
    from headrouter.experiments.file.writing import new_file, write_new

    text = new_file(arguments.dataset)
    if arguments.output is None:
        print(text, end="")
    else:
        write_new(Path(arguments.output), text)
        print(f"{arguments.output}; next: headrouter experiment plan {arguments.output}")
    return 0


def _read(arguments: argparse.Namespace) -> "tuple[Experiment, list[Item], Path]":
    """Read the experiment, and the items of the limit and share that are asked for."""
    from headrouter.cli.overrides import parse_overrides
    from headrouter.config.configuration import Placed
    from headrouter.experiments import read_experiment, select
    from headrouter.experiments.selection import shard_of

    overrides = parse_overrides(arguments.set)
    if arguments.executor is not None:
        overrides.insert(0, Placed(("executor",), {"name": arguments.executor}, "--executor"))
    experiment = read_experiment(arguments.file, overrides)
    items = select(experiment.items, limit=arguments.limit, shard=shard_of(arguments.shard), keys=arguments.item)
    return experiment, items, Path(arguments.output or Path("runs") / experiment.name)


def _planned(arguments: argparse.Namespace, measure: bool = False) -> "tuple[Experiment, list[Item], Path, Plan]":
    from headrouter.experiments.planning.estimates import measured, pace_of
    from headrouter.experiments.planning.plan import plan
    from headrouter.experiments.running.local import executor_of

    experiment, items, folder = _read(arguments)
    executor_of(experiment, workers=arguments.workers).check(arguments.device)
    pace = None
    if measure:
        plan(experiment, items).refuse_missing()
        pace = measured(experiment, items, _runner(arguments))
    elif records := _records(folder):
        pace = pace_of(experiment, records, f"from {len(records)} records in '{folder}'")
    return experiment, items, folder, plan(experiment, items, pace)


def _records(folder: Path) -> "list[CellRecord]":
    """Return the records of finished edits, none where there is no run folder yet."""
    from headrouter.experiments.run_folder.lock import LOCK
    from headrouter.experiments.run_folder.reading import read_records

    return [one for one in read_records(folder) if one.edited] if (folder / LOCK).is_file() else []


def _runner(arguments: argparse.Namespace) -> "Callable[[Experiment, Path, Sequence[Item]], Iterable[Any]]":
    from headrouter.experiments.running.runner import run

    def few(experiment: "Experiment", folder: Path, items: "Sequence[Item]") -> Iterable[Any]:
        return run(experiment, folder, items=items, device=arguments.device, progress=not arguments.no_progress)

    return few


def _plan(arguments: argparse.Namespace) -> int:
    from headrouter.cli.commands.experiment_plan import print_plan, print_simulation
    from headrouter.errors import InvalidInputError
    from headrouter.experiments.planning.simulation import read_constants, simulate
    from headrouter.experiments.running.local import executor_of
    from headrouter.experiments.running.runner import weights_of

    experiment, items, folder, plan = _planned(arguments, arguments.measure)
    workers = executor_of(experiment, workers=arguments.workers).count(arguments.device)
    print_plan(plan, workers or 1)
    if arguments.constants is not None:
        weights = weights_of(experiment, _records(folder))
        constants = read_constants(arguments.constants, experiment)
        if arguments.batch < 1:
            raise InvalidInputError(f"`--batch` must be at least 1 (got {arguments.batch}).")
        print_simulation(simulate(experiment, items, workers or 1, constants, weights=weights, batch=arguments.batch))
    plan.refuse_missing()
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from headrouter.experiments.run_folder.status import status
    from headrouter.experiments.running.runner import run

    experiment, items, folder, plan = _planned(arguments)
    plan.refuse_missing()
    run(
        experiment,
        folder,
        items=items,
        workers=arguments.workers,
        batch=arguments.batch,
        device=arguments.device,
        retry_failed=arguments.retry_failed,
        metrics_only=arguments.metrics_only,
        progress=not arguments.no_progress,
    )
    print(status(folder).text())
    print(f"next: headrouter experiment report {folder}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from headrouter.experiments.run_folder.status import status

    print(status(Path(arguments.folder)).text())
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from headrouter.experiments.run_folder.difference import difference

    print(difference(Path(arguments.folder), Path(arguments.other)).text())
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from headrouter.experiments.run_folder.merging import merge

    merge([Path(folder) for folder in arguments.folders], Path(arguments.output))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from headrouter.cli.report_text import show
    from headrouter.experiments.results.report import report

    show(report(Path(arguments.folder), arguments.baseline, page=arguments.page, paper=arguments.paper))
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from headrouter.experiments.file.schema import experiment_schema

    print(json.dumps(experiment_schema(), indent=2))
    return 0
