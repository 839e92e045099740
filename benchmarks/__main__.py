"""``python -m benchmarks [NAME ...]``: measure, write ``docs/benchmarks.md`` and ``docs/benchmarks.json``."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's remarks

import torch

from benchmarks import page
from benchmarks.figure import attempt, table
from benchmarks.machine import machine
from benchmarks.since import REVISION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run some benchmarks; 1 if one of them failed to give a figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(page.NAMES)}; all if none is named"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each; more are steadier")
    parser.add_argument("--out", type=Path, default=page.FOLDER, help="folder of the page (docs)")
    parser.add_argument(
        "--page", action="store_true", help="measure nothing, write the page from the figures there are"
    )
    parser.add_argument("--revision", help=f"earlier state that `since` compares with ({REVISION})")
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.names) - set(page.NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(page.NAMES)}")
    if asked.revision is not None and "since" not in (asked.names or page.NAMES):
        parser.error("--revision would have no effect without the benchmark since")
    if asked.page:
        page.write(asked.out)
        return 0
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    failed = False
    for name in asked.names or page.NAMES:
        module = import_module(f"benchmarks.{name}")

        def progress(line: str, name: str = name) -> None:
            print(f"{name}: {line}", file=sys.stderr, flush=True)

        given = {} if asked.rounds is None else {"rounds": asked.rounds}
        if name == "since":
            given["revision"] = asked.revision or REVISION
        figures = []
        for figure in attempt(name, lambda: module.measure(progress, **given)):  # noqa: B023
            figures.append(figure)
            page.update(asked.out, name, figures, machine())
        print(table(figures), flush=True)
        failed = failed or any(figure.error is not None for figure in figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
