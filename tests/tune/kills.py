"""Kill searches after so many edits, and begin them again, each in a forked process: ``kills.py FOLDER EDITS...``.

Prints JSON: the names and values that an undisturbed search found, and those of the killed ones; and how many died.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tune import toy


def killed(folder: Path, after: int) -> bool:
    """Run a search in a child that is killed after some edits; return whether it was."""
    pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    left = iter(range(after))
    toy.run(folder, report=lambda _: next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL))
    os._exit(0)


if __name__ == "__main__":
    toy.light.registered()
    place, *edits = sys.argv[1:]
    whole = toy.shown(toy.run(Path(place) / "whole"))
    deaths = sum(killed(Path(place) / "killed", int(after)) for after in edits)
    print(json.dumps({"whole": whole, "again": toy.shown(toy.run(Path(place) / "killed")), "deaths": deaths}))
