"""Check a part against the conformance kit, without a test file."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from headrouter.cli.table import table, terminal_width

if TYPE_CHECKING:
    from headrouter.testing.check import Result

FAILED = 1


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "conformance", help="check a backbone, inversion, operator, method or plug-in", description=__doc__
    )
    parser.add_argument(
        "name", metavar="NAME", help="name of a part, a plug-in or a distribution; all that bear it are checked"
    )
    parser.add_argument(
        "--model", metavar="FOLDER", help="weights to check a backbone with, instead of its own small models"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run every check and print what became of it; 1 if any failed."""
    from headrouter.testing.check import run as run_check
    from headrouter.testing.lookup import subjects_of

    results = [
        run_check(check, subject)
        for subject, checks in subjects_of(arguments.name, arguments.model)
        for check in checks
    ]
    failed = [result for result in results if result.outcome == "failed"]
    if arguments.json:
        print(json.dumps({"passed": not failed, "results": [asdict(result) for result in results]}, indent=2))
    else:
        _print(results)
    return FAILED if failed else 0


def _print(results: "list[Result]") -> None:
    rows = [[result.subject, result.check, result.outcome, " ".join(result.message.split())] for result in results]
    print(table(["part", "check", "outcome", "remark"], rows, terminal_width()))
    counts = {
        outcome: sum(result.outcome == outcome for result in results)
        for outcome in dict.fromkeys(r.outcome for r in results)
    }
    print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
