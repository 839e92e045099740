"""This state over an earlier one, in fresh processes of both in turns: start-up, and whole edits by the bundled models.

The earlier state is revision ccdc7b2, from before the work on speed; `--revision` chooses another. Both are copied into a temporary
folder, the earlier one from git, and each process finds the parts of its own copy alone, compiled, as an installation has them. The
seconds of start-up are the processors', those of edits are on the clock, each state on the number of threads that it chooses. An
edit is the second of its process, 28 steps, by HeadRouter and the inversion named. Both states edit one picture by the same
weights, those that the earlier one bundles: the models have the same sizes since, but were trained on.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Final, final

from benchmarks import edits
from benchmarks.figure import Figure
from benchmarks.gpu.checkout import ROOT, written
from benchmarks.startup import COMMANDS, fresh
from benchmarks.timing import Progress, Spell, in_turns

REVISION: Final = "ccdc7b2"
FOLDERS: Final = ("headrouter", "adapters", "inversions", "plugins")
STARTS: Final = ("import headrouter", "headrouter --help")
EDITS: Final = (("sd3.5", "rf"), ("flux", "flowedit"))

OWN: Final = """
import sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")

def refuse_foreign():
    files = [module.__file__ for name, module in sys.modules.items() if name.startswith("headrouter")]
    foreign = [file for file in files if not Path(file).is_relative_to(Path.cwd())]
    assert files and not foreign, f"not of this state: {foreign}"
"""
PARTS: Final = f"""{OWN}
from headrouter.plugins import registry
failed = [row for row in registry().statuses if row.status not in ("ok", "disabled")]
assert registry().entries() and not failed, f"parts that cannot be loaded: {{failed}}"
refuse_foreign()
"""
EDIT: Final = f"""{OWN}
from headrouter import Editor
family, inversion, model, picture, size, source, target, steps, guidance = sys.argv[1:]
editor = Editor(family, inversion, "headrouter", model=model, device="cpu", progress=False)
settings = {{"steps": int(steps), "guidance": float(guidance), "maps": False, "size": (int(size), int(size))}}
for _ in range(2):
    wall, work = time.perf_counter(), time.process_time()
    editor.edit(picture, target, source, **settings)
    wall, work = time.perf_counter() - wall, time.process_time() - work
refuse_foreign()
print(wall, work)
"""


@final
@dataclass(frozen=True, slots=True)
class State:
    """A copy of the code in a folder, and the environment of processes that run it."""

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path) -> "State":
        """Declare the parts of a copy, and make sure that it finds them all, and no others."""
        metadata = folder / "metadata"
        metadata.mkdir()
        places = [written(metadata, folder), folder, *(folder / name for name in FOLDERS[1:])]
        path = os.pathsep.join([*map(str, places), *filter(None, [os.environ.get("PYTHONPATH")])])
        unset = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        state = cls(folder, {**kept, "PYTHONPATH": path, "HEADROUTER_PLUGINS": ""})
        state.output(PARTS)
        return state

    def start(self, command: str) -> Spell:
        """Run a command of the benchmark of start-up."""
        return fresh(COMMANDS[command], cwd=self.folder, env=self.environment)

    def edit(self, *arguments: str) -> Spell:
        """Edit twice in a new process, the second time for the figure."""
        wall, work = map(float, self.output(EDIT, *arguments).split()[-2:])
        return Spell(wall, work)

    def output(self, code: str, *arguments: str) -> str:
        """Return all that code prints in a new process.

        Raises:
            RuntimeError: It failed.
        """
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"a process of the state {self.folder.name!r} failed: {_last_line(done.stderr)}")
        return done.stdout


def copy_of_now(folder: Path) -> Path:
    """Copy the code as it stands, without weights."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors*"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def copy_of(revision: str, folder: Path) -> Path:
    """Copy the code of a revision.

    Raises:
        RuntimeError: There is no git, or no such revision.
    """
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision, "pyproject.toml", *FOLDERS]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError("needs git, to take an earlier state from it, and there is none") from error
    if done.returncode:
        reason = _last_line(done.stderr.decode(errors="replace"))
        raise RuntimeError(f"needs a clone that has revision {revision!r}; git says {reason!r}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def measure(progress: Progress, *, rounds: int = 5, steps: int = 28, revision: str = REVISION) -> Iterator[Figure]:
    """Each start, three times a round, and each edit: this state over the earlier one."""
    with tempfile.TemporaryDirectory(prefix="headrouter-since-") as name:
        top = Path(name).resolve()
        before = State.of(copy_of(revision, top / "before"))
        states = {"now": State.of(copy_of_now(top / "now")), "before": before}

        def compare(what: str, run: Callable[[State], Spell], clock: str, rounds: int) -> Figure:
            runs = {name: partial(run, state) for name, state in states.items()}
            warm_up = int(clock == "work")  # which compiles modules; an edit has its own
            shown = partial(_say, progress, what)
            times = in_turns(runs, rounds, warm_up=warm_up, clock=clock, progress=shown)
            other, words = ("wall", "on the clock") if clock == "work" else ("work", "processors' seconds")
            note = f"{rounds} rounds, {words} {Figure.of('', times.ratios('now', 'before', other)).value:.2f}"
            ratios = times.ratios("now", "before", clock)
            return Figure.of(f"{what}, over {revision}", ratios, goal=("≤", 1), note=note)

        for command in STARTS:
            yield compare(f"`{command}`", methodcaller("start", command), "work", 3 * rounds)
        picture = edits.picture()
        picture.save(top / "picture.png")
        for family, inversion in EDITS:
            weights = before.folder / "plugins" / "headrouter_shapes" / "weights" / family
            given = (family, inversion, weights, top / "picture.png", picture.width)
            given += (edits.SOURCE, edits.TARGET, steps, edits.GUIDANCE)
            edit = methodcaller("edit", *map(str, given))
            yield compare(f"{family}: edit by {inversion} + HeadRouter", edit, "wall", rounds)


def _say(progress: Progress, what: str, line: str) -> None:
    progress(f"{what}: {line}")


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")
