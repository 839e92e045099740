"""Identify the processes that share a run folder, and tell those that are dead.

A process is named by its host, the host's boot, its number there and its start, so that on the same machine the system itself says
whether it lives: a process that is paused lives. Of another machine there is only its heartbeat, a count in a file. It is taken
for dead once its count has stood still for :data:`PATIENCE` seconds by the clock of the one who looks; clocks are never compared.
"""

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

INTERVAL: Final = 10.0
"""Seconds between heartbeats."""
PATIENCE: Final = 300.0
"""Seconds without a heartbeat after which a process of another machine is taken for dead."""
_BURIED: Final = ".dead"
"""Ending of the file by which a process is known to be dead."""


def new_name() -> str:
    """Return a name for a process, unique for ever: ``host+boot+number+start+token``."""
    host = re.sub(r"[^\w.-]", "-", socket.gethostname())[:40] or "host"
    return "+".join([host, _boot(), str(os.getpid()), _start(os.getpid()), uuid.uuid4().hex[:8]])


def died_here(name: str) -> bool | None:
    """Return whether a process of this machine is dead; None if it is of another machine, or the system cannot say."""
    parts = name.split("+")
    if len(parts) != 5 or not parts[1] or parts[1] != _boot():
        return None
    return _start(int(parts[2])) != parts[3]


def _boot() -> str:
    """Return a word for this boot of this machine and its process numbers; empty where the system has none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot[:13]}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _start(number: int) -> str:
    """Return when a process started, in ticks since the boot; empty if there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


class Heartbeat:
    """Writes a process's file again and again while it works, as a context."""

    def __init__(self, folder: Path, name: str, interval: float = INTERVAL):
        """Write to ``folder/name.json``."""
        self.path, self._interval = folder / f"{name}.json", interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._known: dict[str, Any] = {"host": socket.gethostname(), "number": os.getpid(), "began": time.time()}
        self._beats = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "Heartbeat":
        """Write the first time, and go on."""
        self.beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and remove the file."""
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            self.path.unlink()

    def beat(self, **known: Any) -> None:
        """Write the file, with what else is known of the process's work.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._beats += 1
            self._known |= known
            beside = self.path.with_suffix(".new")
            beside.write_text(json.dumps({**self._known, "beats": self._beats, "at": time.time()}), encoding="utf-8")
            beside.replace(self.path)

    def note(self, **known: Any) -> None:
        """Remember what the next heartbeat will say."""
        with self._lock:
            self._known |= known

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            with suppress(OSError):  # a full disk; whoever writes results reports it
                self.beat()


class Processes:
    """Tells which of the processes that worked in a folder are dead."""

    def __init__(self, folder: Path, patience: float = PATIENCE):
        """Look at the heartbeats in ``folder``."""
        self._folder, self._patience = folder, patience
        self._seen: dict[str, tuple[bytes, float]] = {}

    def dead(self, name: str) -> bool:
        """Return whether a process is dead: for sure on this machine, otherwise if it is buried, or its heartbeat stood still."""
        here = died_here(name)
        if here is not None:
            return here
        if (self._folder / f"{name}{_BURIED}").exists():
            return True
        try:
            now = (self._folder / f"{name}.json").read_bytes()
        except OSError:
            now = b""
        last, since = self._seen.setdefault(name, (now, time.monotonic()))
        if now != last:
            self._seen[name] = now, time.monotonic()
            return False
        return time.monotonic() - since > self._patience

    def bury(self, name: str) -> None:
        """Note that a process of any machine is dead, so that others do not wait for its heartbeat."""
        with suppress(OSError):
            (self._folder / f"{name}{_BURIED}").touch()
            (self._folder / f"{name}.json").unlink(missing_ok=True)

    def forget_buried(self, owners: Iterable[str]) -> None:
        """Remove the notes on dead processes that own no claim any more."""
        needed = set(owners)
        for path in self._folder.glob(f"*{_BURIED}"):
            if path.name.removesuffix(_BURIED) not in needed:
                path.unlink(missing_ok=True)

    def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what each process says of itself, by its name."""
        found: dict[str, Mapping[str, Any]] = {}
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError):  # gone by now, or of a system that does not replace files whole
                found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        return found
