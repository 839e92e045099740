"""An edit waits for the device once a step, whatever the model, inversion and method, on a stand-in that counts it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("edits_far_away.py")


@pytest.fixture(scope="module")
def counted() -> Any:
    """What the script counts, in a process of its own: the stand-in stays registered for good."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_stand_in_counts_what_an_accelerator_is_waited_for(counted: Any) -> None:
    assert counted["known"] == {name: int(not name.startswith("nothing")) for name in counted["known"]}
    assert len(counted["known"]) == 12


def test_every_step_waits_at_most_once(counted: Any) -> None:
    """Each method alone, and all of them together, with velocity operators, with every inversion.

    Positions of words and rows are beside: the first step that needs them copies them to the device, once for all.
    """
    edits = counted["edits"]
    assert len(edits) == 3 * (6 + 8 * 2) + 2 * 6
    for *name, waits, positions in edits:
        assert len(waits) >= 1, name
        assert sum(waits) - positions <= len(waits), f"{name} waits {waits}, {positions} of them for positions"
        assert max(waits) - positions <= 1 and waits[-1] <= 1, f"{name} waits {waits} times"
