"""A small model on the CPU runs on one thread, and whatever numbers of threads there were are there afterwards.

In a process of its own: PyTorch remembers for good that somebody asked for a number.
"""

import json
import os
import subprocess
import sys

import pytest

WATCH = """
import json, os, threading
import torch
from PIL import Image
from headrouter import Editor
from headrouter.models import threads
from headrouter.testing.toy import ToyMMDiT

class Watched(ToyMMDiT):
    seen, fail = [], False
    def velocity(self, *given):
        self.seen.append(torch.get_num_threads())
        if self.fail:
            raise KeyboardInterrupt
        return super().velocity(*given)

editor = Editor(Watched(), "euler", "none", progress=False)
picture = Image.new("RGB", (32, 32), "teal")

def edit():
    # the numbers of threads that the model saw, and the one there is afterwards
    Watched.seen.clear()
    try:
        editor.edit(picture, "a red square", steps=2)
    except KeyboardInterrupt:
        pass
    return sorted(set(Watched.seen)), torch.get_num_threads()

def elsewhere(task):
    found = []
    thread = threading.Thread(target=lambda: found.append(task()))
    thread.start()
    thread.join()
    return found[0]

default = torch.get_num_threads()
found = {}
with threads._openmp().limit(limits=3):  # of this thread, whatever the machine has
    found["edit"] = edit()
    Watched.fail = True
    found["interrupted"] = edit()
    Watched.fail = False
    with threads.fitting_threads(editor.backbone):
        found["started meanwhile"] = elsewhere(torch.get_num_threads) == default
        found["within"] = edit()
    small, threads.SMALL = threads.SMALL, 1
    found["large"] = edit()
    threads.SMALL = small
    os.environ["OMP_NUM_THREADS"] = "3"
    found["variable"] = edit()
    del os.environ["OMP_NUM_THREADS"]
found["in another thread"] = elsewhere(edit)[1] == default
found["nobody asked"] = not threads.is_chosen()
torch.set_num_threads(3)
found["asked"] = edit()
found["asked, another thread"] = elsewhere(edit)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    environment = {
        name: value for name, value in os.environ.items() if name not in {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    }
    done = subprocess.run([sys.executable, "-c", WATCH], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_small_model_runs_on_one_thread_and_leaves_the_number_as_it_was(found):
    assert found["edit"] == found["interrupted"] == [[1], 3]
    assert found["within"] == [[1], 1]


def test_threads_that_other_code_starts_meanwhile_keep_their_number(found):
    assert found["started meanwhile"] and found["in another thread"]


def test_a_large_model_runs_on_all_threads(found):
    assert found["large"] == [[3], 3]


def test_a_number_that_was_asked_for_stays(found):
    assert found["variable"] == found["asked"] == found["asked, another thread"] == [[3], 3]
    assert found["nobody asked"], "before torch.set_num_threads, a number of threads is nobody's"
