"""Search fields of parts over a data set for the best pairs of two metrics, from one YAML file; docs/tune.md."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headrouter.cli.options import add_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrouter.experiments.dataset import Item
    from headrouter_tune.file import Search

EXAMPLES = """examples:
  headrouter tune flow.yaml --dry-run
  headrouter tune flow.yaml -o flow/
  headrouter experiment report flow/
  headrouter edit photo.png --source "a cat" --prompt "a dog" --inversion flowedit --preset flow/tune/presets/flow-012.yaml

A search that ended in whatever way goes on with the same command, and with the same suggestions.
"""


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "tune",
        help="search parameters over a data set",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(parser, "search", "base.guidance=3")
    parser.add_argument("--dry-run", action="store_true", help="check everything, and say how many cells there are")
    parser.add_argument("--trials", type=int, metavar="N", help="number of configurations (default: the file's)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Search, and say what was found."""
    from headrouter.cli.overrides import parse_overrides
    from headrouter.cli.streams import say
    from headrouter.cli.table import table, terminal_width
    from headrouter.config.configuration import Placed
    from headrouter.errors import InvalidInputError
    from headrouter.experiments import plan, select

    try:
        from headrouter_tune.running import refuse_other_search, run_search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise InvalidInputError("`headrouter tune` needs optuna: pip install 'headrouter[tune]'.") from error
    from headrouter_tune.file import read_search
    from headrouter_tune.results import write_results

    overrides = parse_overrides(arguments.set)
    if arguments.trials is not None:
        overrides.append(Placed(("trials",), arguments.trials, "--trials"))
    search = read_search(arguments.file, overrides)
    items = select(search.experiment.items, limit=arguments.limit)
    folder = Path(arguments.output or Path("runs") / search.experiment.name)
    plan(search.experiment, items).refuse_missing()
    print(_said(search, items))
    if arguments.dry_run:
        refuse_other_search(folder, search, items)
        return 0
    try:
        outcome = run_search(
            search,
            folder,
            items,
            workers=arguments.workers,
            batch=arguments.batch,
            device=arguments.device,
            progress=not arguments.no_progress,
        )
    except KeyboardInterrupt:
        say(f"headrouter: interrupted. What was done is kept in '{folder}': the same command goes on.")
        raise
    found = write_results(search, outcome, folder)
    print(f"\n{table(found.headings, found.rows, terminal_width())}\n")
    print("\n".join([*found.remarks, "", *map(str, found.files)]))
    print(f"next: headrouter experiment report {folder}")
    return 0


def _said(search: "Search", items: "Sequence[Item]") -> str:
    """Return what a search will do."""
    from headrouter_tune.space import paths

    trials, starts = search.file.trials, len(search.starts) - 1
    presets = f" and {starts} preset{'s' if starts > 1 else ''}" if starts else ""
    towards = " and ".join(f"{one.name} ({one.column.better} is better)" for one in search.objectives)
    return (
        f"{search.experiment.name}: {search.cells(items)} cells: {trials} configurations, the base{presets} first, of "
        f"{len(items)} edits of {search.experiment.dataset_name}; fields: {', '.join(paths(search.space))}; objectives: {towards}."
    )
