"""Kills at random moments: nothing that was reported done is lost or done twice. See ``kills.py`` beside this."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


def killed(kind: str, kills: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), kind, str(folder), str(kills), "7"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_run_survives_thirty_kills(tmp_path: Path) -> None:
    found = killed("one", 30, tmp_path)
    assert found["wrong"] == [] and found["kills"] >= 30 and found["ended"] >= 1


def test_processes_that_share_a_folder_survive_kills_and_pauses(tmp_path: Path) -> None:
    found = killed("several", 12, tmp_path)
    assert found["wrong"] == [] and found["kills"] >= 12 and found["ended"] >= 3


def test_a_run_of_a_real_model_survives_kills(tmp_path: Path) -> None:
    found = killed("real", 4, tmp_path)
    assert found["wrong"] == [] and found["kills"] >= 2
