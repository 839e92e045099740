"""Time to import headrouter and to show ``headrouter --help``, over importing pydantic and pluggy, in fresh processes."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.figure import Figure
from benchmarks.timing import Progress, Spell, Times

COMMANDS = {
    "pydantic and pluggy": ("-c", "import pluggy; from pydantic import BaseModel"),
    "import headrouter": ("-c", "import headrouter"),
    "headrouter --help": ("-m", "headrouter.cli", "--help"),
}
GOAL = 3.0


def fresh(arguments: Sequence[str]) -> Spell:
    """Run Python once in a new process.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    wall, work = time.perf_counter(), _children()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ.copy())
    return Spell(time.perf_counter() - wall, _children() - work)


def measure(progress: Progress, *, rounds: int = 15) -> Iterator[Figure]:
    """Ratios of the processors' seconds of whole processes, from start to end."""
    done = []
    for number in range(-1, rounds):
        spells = {name: fresh(arguments) for name, arguments in COMMANDS.items()}
        progress(
            f"round {number + 1} of {rounds}: " + ", ".join(f"{name} {one.work:.2f} s" for name, one in spells.items())
        )
        if number >= 0:
            done.append(spells)
    times, base = Times(tuple(done)), "pydantic and pluggy"
    for name, goal in (("import headrouter", None), ("headrouter --help", ("≤", GOAL))):
        wall = Figure.of("", times.ratios(name, base, "wall")).value
        note = f"{rounds} rounds, on the clock {wall:.2f}"
        yield Figure.of(f"`{name}` over importing {base}", times.ratios(name, base), goal=goal, note=note)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
