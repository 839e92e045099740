"""Features on a stand-in for a GPU, in a process of their own: PyTorch knows of such a device until the process ends."""

import subprocess
import sys
from pathlib import Path


def test_elsewhere() -> None:
    file = Path(__file__).with_name("those_elsewhere.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout[-4000:]
