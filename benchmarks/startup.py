"""Time to import headrouter and to show ``headrouter --help``, over importing pydantic and pluggy, in fresh processes."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.timing import Progress, Spell, in_turns

COMMANDS = {
    "pydantic and pluggy": ("-c", "import pluggy; from pydantic import BaseModel"),
    "import headrouter": ("-c", "import headrouter"),
    "headrouter --help": ("-m", "headrouter.cli", "--help"),
}
GOAL = 3.0


def fresh(arguments: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Spell:
    """Run Python once in a new process.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    wall, work = time.perf_counter(), _children()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=cwd, env=env)
    return Spell(time.perf_counter() - wall, _children() - work)


def measure(progress: Progress, *, rounds: int = 15) -> Iterator[Figure]:
    """Ratios of the processors' seconds of whole processes, from start to end."""
    runs = {name: partial(fresh, arguments) for name, arguments in COMMANDS.items()}
    times, base = in_turns(runs, rounds, progress=progress), "pydantic and pluggy"
    for name, goal in (("import headrouter", None), ("headrouter --help", ("≤", GOAL))):
        wall = Figure.of("", times.ratios(name, base, "wall")).value
        note = f"{rounds} rounds, on the clock {wall:.2f}"
        yield Figure.of(f"`{name}` over importing {base}", times.ratios(name, base), goal=goal, note=note)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
