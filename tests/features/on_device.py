"""Try every feature on every kind of model on a device, and write down where it differs from docs/features.md.

    make gpu-features
    make gpu-features DEVICE=elsewhere CELLS="--only Chroma --only LoRA"

Cells are tried in processes that share the device, the most telling ones first, until the time is over.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.checkout import declare
from headrouter.errors import HeadRouterError

from .features import BACKBONES, COLUMNS, FEATURES
from .test_features import TABLE, WORKS, known

Cell = tuple[str, str]
Task = tuple[str, Callable[[], str]]
Outcome = tuple[str, str, float]
"""Name of a task, its outcome, and the seconds that it took."""

OURS = ("headrouter", "features")


def outcome(cell: Cell, device: str) -> str:
    """``works``, the sentence with which it was refused, or the error and where it came from."""
    feature, column = cell
    try:
        parameters, pipeline = COLUMNS[column]()
        with placed(pipeline, device):
            FEATURES[feature]((parameters, pipeline))
    except HeadRouterError as error:
        return f"refused: {error}"
    except Exception as error:  # the next cell is tried all the same
        return failure(error)
    return WORKS


@contextlib.contextmanager
def placed(pipeline: Any, device: str) -> Iterator[None]:
    """Bring a pipeline to a device; ``elsewhere`` is a stand-in for one, see :mod:`features.elsewhere`."""
    if device != "elsewhere":
        pipeline.to(device)
        yield
        return
    from .elsewhere import Elsewhere, send

    with Elsewhere():
        send(pipeline)
        yield


def failure(error: BaseException) -> str:
    """Return an error in a line: its type, message, and the last places of our packages that it passed."""
    frames = [
        f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if any(part.startswith(OURS) for part in Path(frame.filename).parts[-4:])
    ]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]} | {' < '.join(frames[:-5:-1])}"


def expected(cell: Cell, page: dict[Cell, str], device: str) -> str:
    """What the page says; with an accelerator, offloading to one works."""
    said = page[cell]
    there = "without accelerator" in cell[0] and device != "cpu" and "brings weights" in said
    return WORKS if there else said


def ordered(page: dict[Cell, str], only: Sequence[str], device: str) -> list[Cell]:
    """The cells to try: those that work before those that are refused, two models whole, then each row on one more, ..."""
    chosen = [cell for cell in page if not only or set(cell) & set(only)]
    chosen = [cell for cell in chosen if "torchao" not in cell[0] or find_spec("torchao")]
    if device == "elsewhere":  # which has tensors and no streams, and is written to no file
        chosen = [cell for cell in chosen if not re.search("offload|compile|torchao|record", cell[0])]
    rows, columns = list(FEATURES), list(COLUMNS)
    first = {name: place for place, name in enumerate(("FLUX.1-dev", "SD3.5-medium"))}

    def place(cell: Cell) -> tuple[int, int, int]:
        row, column = rows.index(cell[0]), columns.index(cell[1])
        later = 2 + (column + row) % len(columns) + (len(columns) if cell[1] in BACKBONES else 0)
        return (page[cell] != WORKS and "accelerator" not in cell[0], first.get(cell[1], later), row)

    return sorted(chosen, key=place)


_tasks: list[Task] = []
_end = 0.0


def _begin(make: Callable[..., list[Task]], given: Sequence[Any], end: float) -> None:
    global _tasks, _end
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    declare()
    _tasks, _end = make(*given), end


def _do(place: int) -> Outcome | None:
    if time.time() > _end:
        return None
    name, task = _tasks[place]
    start = time.perf_counter()
    return name, task(), time.perf_counter() - start


def in_processes(
    make: Callable[..., list[Task]], given: Sequence[Any], workers: int, seconds: float
) -> Iterator[Outcome]:
    """Do the tasks that a function makes, in fresh processes and in order, as many as begin within the time.

    One that is stuck is given up 15 seconds after that. Processes are not forked, since a CUDA device does not survive it.
    """
    end = time.time() + seconds
    count = len(make(*given))
    with multiprocessing.get_context("spawn").Pool(workers, _begin, (make, given, end)) as pool:
        found = pool.imap_unordered(_do, range(count))
        try:
            while True:
                if (done := found.next(timeout=max(0.1, end + 15 - time.time()))) is not None:
                    yield done
        except (StopIteration, multiprocessing.TimeoutError):
            return


def tasks_of(cells: Sequence[Cell], device: str) -> list[Task]:
    """Trying each cell, by its names as JSON."""
    return [(json.dumps(cell, ensure_ascii=False), partial(outcome, cell, device)) for cell in cells]


def main() -> None:
    """Try cells, and print and write those that differ from the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", action="append", default=[], help="a row or a column of the page; may be given again")
    parser.add_argument("--cells", default="1/1", help="i/n: every n-th cell, from the i-th")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--page", type=Path, default=TABLE, help="docs/features.md")
    parser.add_argument("--out", type=Path, default=None, help="folder for cells.json")
    asked = parser.parse_args()
    declare()
    page = known(asked.page)
    first, every = map(int, asked.cells.split("/"))
    cells = ordered(page, asked.only, asked.device)[first - 1 :: every]
    done, different = 0, []
    for name, found, seconds in in_processes(tasks_of, (cells, asked.device), asked.workers, asked.seconds):
        done += 1
        said = expected(tuple(json.loads(name)), page, asked.device)
        if found != said:
            different.append([name, said, found, round(seconds, 1)])
            print(f"{name}\n  page:  {said}\n  {asked.device}:  {found}", flush=True)
    print(f"{done} of {len(cells)} cells tried on {asked.device}, {len(different)} differ from {asked.page.name}")
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        content = {"device": asked.device, "tried": done, "of": len(cells), "different": different}
        (asked.out / "cells.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    sys.exit(bool(different))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
