"""Run experiments in child processes that are killed, stopped and started again: a script, so that forking is safe.

    python kills.py FOLDER SEED one|several|real=KILLS...

Prints JSON for each kind: kills, the number of runs that ended by themselves, cells, and what is wrong, which should be nothing.
"""

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import light
from tqdm import tqdm

from headrouter.experiments.composing import configure
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.running.runner import run


def started(experiment: Experiment, folder: Path, dies_after: float = 0, **options: Any) -> int:
    """Run an experiment in a child, which notes each record in ``folder.reported`` when it is told that it is kept.

    After so many seconds of its own processor time the system kills it, however busy the machine is.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    signal.setitimer(signal.ITIMER_PROF, dies_after)  # nothing handles its signal, which ends a process on the spot
    tqdm.set_lock(
        threading.RLock()
    )  # of this child alone: that of tqdm is held for good by one that is killed while it has it
    try:
        reported = os.open(folder.with_suffix(".reported"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        run(experiment, folder, progress=False, report=lambda one: _note(reported, one), **options)
        code = 0
    except BaseException:
        folder.with_suffix(f".{os.getpid()}.error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _note(file: int, record: CellRecord) -> None:
    os.write(file, f"{record.cell.configuration} {record.item} {record.seed} {record.saved}\n".encode())


def wrong(folder: Path, cells: int | None = None) -> list[str]:
    """Return what is wrong with a folder: reports that it does not hold, cells that are there twice, errors, missing ones."""
    lines: list[CellRecord] = []
    for path in (folder / "records").glob("*.jsonl"):
        content = path.read_bytes()
        lines += map(CellRecord.read, content[: content.rfind(b"\n") + 1].splitlines())
    made = Counter(f"{one.cell.configuration} {one.item} {one.seed} {one.saved}" for one in lines)
    cell_counts = Counter(one.cell for one in lines)
    path = folder.with_suffix(".reported")
    reported = Counter(path.read_text().splitlines() if path.exists() else [])
    found = [f"done twice: {one}" for one, count in cell_counts.items() if count > 1]
    found += [f"reported and lost: {one}" for one in reported if one not in made]
    found += [f"reported twice: {one}" for one, count in reported.items() if count > 1]
    found += [path.read_text() for path in folder.parent.glob(f"{folder.stem}.*.error")]
    missing = [one for one in lines if one.saved is None or not (folder / one.saved.file).is_file()]
    found += [f"no picture: {one}" for one in missing]
    if cells is not None and len(cell_counts) != cells:
        found.append(f"{len(cell_counts)} cells of {cells}")
    return found


def one(root: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill one process after the other, in as many folders as it takes."""
    killed, ended, found, cells, number = 0, 0, [], 0, 0
    while killed < kills:
        folder, finished = root / f"run-{number}", False
        number += 1
        while not finished:
            if chance.random() < 0.5:
                pid = started(light.experiment(pictures=12), folder, chance.uniform(0.001, 0.2))
            else:
                pid = started(light.experiment(pictures=12), folder)
                time.sleep(chance.uniform(0, 0.3))
                os.kill(pid, signal.SIGKILL)
            finished = os.waitpid(pid, 0)[1] == 0
            killed, ended = killed + (not finished), ended + finished
            if folder.exists():
                found += wrong(folder)
        found += wrong(folder, 12 * 2 * 4)
        cells += 12 * 2 * 4
    return {"kills": killed, "ended": ended, "cells": cells, "wrong": found}


def several(root: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Let three processes share a folder, and kill, or stop for a while, one of them again and again."""
    killed, ended, stopped, found, cells, number = 0, 0, 0, [], 0, 0
    while killed < kills:
        folder = root / f"shared-{number}"
        number += 1
        experiment = light.experiment(pictures=20)
        running = [started(experiment, folder) for _ in range(3)]
        while running:
            time.sleep(chance.expovariate(1 / 0.08))
            victim = chance.choice(running)
            if chance.random() < 0.3:
                os.kill(victim, signal.SIGSTOP)
                time.sleep(chance.uniform(0, 0.1))
                os.kill(victim, signal.SIGCONT)
                stopped += 1
            elif killed < kills:
                os.kill(victim, signal.SIGKILL)
            for pid in list(running):
                done, status = os.waitpid(pid, 0 if pid == victim and killed >= kills else os.WNOHANG)
                if done:
                    running.remove(pid)
                    was_killed = os.WIFSIGNALED(status)
                    killed, ended = killed + was_killed, ended + (not was_killed)
                    if was_killed:
                        running.append(started(experiment, folder))
        found += wrong(folder, 20 * 2 * 4)
        cells += 20 * 2 * 4
        found += [f"left behind: {path}" for part in ("processes", "claims") for path in (folder / part).iterdir()]
    return {"kills": killed, "ended": ended, "stopped": stopped, "cells": cells, "wrong": found}


def real(root: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill runs of a bundled model, and let the last one end."""
    import headrouter_sd3.backbone  # noqa: F401  # once, for all children: a kill while diffusers is imported shows nothing

    one = configure("one", "sd3.5", "euler", None, model="shapes", steps=2)
    experiment = light.experiment(one, pictures=12, edits=2, sizes=((64, 64),))
    folder, killed, found, partly = root / "real", 0, [], 0
    for number in range(kills + 1):
        pid = started(experiment, folder, chance.uniform(0.2, 1.5) if number < kills else 0, batch=2, device="cpu")
        killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        found += wrong(folder) if folder.exists() else []
        reported = folder.with_suffix(".reported")
        partly += 0 < len(reported.read_text().splitlines() if reported.exists() else []) < 24
    found += wrong(folder, 24)
    return {"kills": killed, "partly": partly, "cells": 24, "wrong": found}


if __name__ == "__main__":
    place, seed, *asked = sys.argv[1:]
    light.registered()
    run(light.experiment(pictures=1), Path(place) / "warm", progress=False)  # hashes the code once, for all children
    kinds: dict[str, Callable[..., dict[str, Any]]] = {"one": one, "several": several, "real": real}
    result = {}
    for kind, count in (each.split("=") for each in asked):
        before = os.times()
        result[kind] = kinds[kind](Path(place), int(count), random.Random(int(seed)))
        spent = os.times()
        processor = spent.children_user + spent.children_system - before.children_user - before.children_system
        result[kind]["processor"] = round(processor, 1)
    print(json.dumps(result))
