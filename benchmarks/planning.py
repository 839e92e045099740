"""Time and memory of ``headrouter experiment plan`` for 100 000 cells, in fresh processes and in one that has imported all.

126 configurations of three bundled models × 400 edits × 2 seeds. Seconds are those that the processor worked.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure
from benchmarks.timing import Progress

FILE: Final = """
dataset: {name: shapes, count: 400}
metrics: [shapes-1]
model: shapes
seeds: [0, 1]
matrix:
  backbone: [sd3.5, sd3, flux]
  inversion:
    - {name: rf-sde, sweep: {eta: [0.5, 0.7, 0.9], stop: [6, 12]}}
    - sdedit
  method: [none, {name: headrouter, sweep: {gamma: [0.1, 0.15, 0.2, 0.25, 0.3]}}]
"""
CELLS: Final = 126 * 400 * 2
_RUN: Final = "import sys; from headrouter.cli import main; sys.exit(main(['experiment', 'plan', sys.argv[1]]))"
_AGAIN: Final = """
import sys, time, io, contextlib
from headrouter.cli import main
for _ in range(2):
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["experiment", "plan", sys.argv[1]]) == 0
print(time.process_time() - began)
"""


def measure(progress: Progress, *, rounds: int = 3) -> Iterator[Figure]:
    """Yield processor's seconds and peak memory."""
    first, again = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_text(FILE, encoding="utf-8")
        for number in range(rounds):
            before = _work()
            shown = subprocess.run(
                [sys.executable, "-c", _RUN, path], check=True, capture_output=True, text=True, cwd=folder
            )
            first.append(_work() - before)
            assert f"{CELLS:,}" in shown.stdout
            found = subprocess.run(
                [sys.executable, "-c", _AGAIN, path], check=True, capture_output=True, text=True, cwd=folder
            )
            again.append(float(found.stdout))
            progress(f"round {number + 1} of {rounds}: {first[-1]:.2f} s, again {again[-1]:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    yield Figure.of("plan of 100 800 cells, a second time in one process", again, unit="s", goal=("≤", 5.0))
    yield Figure.of("the same, a whole process with all imports", first, unit="s", goal=("≤", 5.0))
    yield Figure("its peak memory", peak / 1e6, unit="MB", goal=("≤", 500.0), note="nearly all of it imports")


def _work() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
