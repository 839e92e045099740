"""An edit on two cores, alone and beside a program that keeps one of them busy, on the clock.

A small model computes on one thread unless the user chose a number (decision 45). Each case is a process of its own that may use
two cores, edits once to warm up and then once for the figure; the bundled SD3.5 model, `euler`, 14 steps. Other work on the machine
disturbs these figures more than any other here. What a second idle core would gain is left to users who choose it; whether an edit
alone takes longer than it did on all threads before, [since](#since) says.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.figure import Figure
from benchmarks.timing import Progress, Spell, in_turns

EDIT = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, CORES)
from benchmarks.edits import editor, edit
chosen, steps = editor("sd3.5", "euler", None), int(sys.argv[1])
edit(chosen, steps=steps)
wall, work = time.perf_counter(), time.process_time()
edit(chosen, steps=steps)
print(time.perf_counter() - wall, time.process_time() - work)
"""
CASES = ("chosen, alone", "chosen, beside", "all threads, alone", "all threads, beside")


def cores() -> list[int]:
    """Two of the cores that this process may use."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    if len(allowed) < 2:
        raise RuntimeError("needs two cores, and there is one")
    return allowed[:2]


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """With a program that keeps one of the two cores busy, or without."""
    code = f"import os; os.sched_setaffinity(0, {{{cores()[1]}}})\nwhile True: pass"
    program = subprocess.Popen([sys.executable, "-c", code]) if busy else None
    try:
        yield
    finally:
        if program is not None:
            program.kill()
            program.wait()


def one(case: str, steps: int) -> Spell:
    """One edit in a fresh process."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    if case.startswith("all threads"):
        environment["OMP_NUM_THREADS"] = "2"
    code = EDIT.replace("CORES", repr(set(cores())))
    with neighbour(case.endswith("beside")):
        command = [sys.executable, "-c", code, str(steps)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    wall, work = map(float, done.stdout.split()[-2:])
    return Spell(wall, work)


def measure(progress: Progress, *, rounds: int = 3, steps: int = 14) -> Iterator[Figure]:
    """The number of threads that is chosen, and all threads as PyTorch would take them, alone and beside a busy program."""
    runs = {case: partial(one, case, steps) for case in CASES}
    times, note = in_turns(runs, rounds, warm_up=0, clock="wall", progress=progress), f"{rounds} rounds"
    for what, case, over, goal in (
        ("an edit beside a busy program over one alone", "chosen, beside", "chosen, alone", ("≤", 2)),
        ("an edit alone, over one on all threads alone", "chosen, alone", "all threads, alone", None),
        ("on all threads, beside a busy program over alone", "all threads, beside", "all threads, alone", None),
    ):
        yield Figure.of(what, times.ratios(case, over, "wall"), goal=goal, note=note)
