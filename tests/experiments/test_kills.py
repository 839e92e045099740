"""Kills at random moments: nothing that was reported done is lost or done twice. See ``kills.py`` beside this."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_runs_survive_kills(tmp_path: Path) -> None:
    """One process after the other, several that share a folder and are stopped too, and a real model: forked by one script."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("kills.py")),
        str(tmp_path),
        "7",
        "one=30",
        "several=12",
        "real=4",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {kind: each["wrong"] for kind, each in found.items()} == {"one": [], "several": [], "real": []}
    one, several, real = found["one"], found["several"], found["real"]
    assert one["kills"] >= 30 and one["ended"] >= 1
    assert several["kills"] >= 12 and several["ended"] >= 3
    assert real["kills"] >= 2
