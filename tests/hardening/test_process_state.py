"""What belongs to the whole process stays as it is: warnings, random numbers, limits of other libraries."""

import re
import threading
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

import headrouter
from headrouter.imaging.picture import load_picture
from headrouter.testing.toy import ToyMMDiT

ROOT = Path(headrouter.__file__).parents[1]


def test_pictures_read_in_threads_leave_the_filters_of_warnings() -> None:
    entered, before = [threading.Event(), threading.Event()], list(warnings.filters)

    class Slow(Image.Image):
        """Waits, once it is read, until the other is read too."""

        number = 0

        def load(self) -> object:
            entered[self.number].set()
            assert entered[1].wait(30)
            if self.number == 1:
                first.join(30)
            return super().load()

    def slow(number: int) -> Image.Image:
        picture = Image.new("RGB", (20, 20))
        picture.__class__, picture.number = Slow, number  # type: ignore[attr-defined]
        return picture

    first = threading.Thread(target=load_picture, args=(slow(0),))
    second = threading.Thread(target=load_picture, args=(slow(1),))
    first.start()
    assert entered[0].wait(30)
    second.start()
    second.join(60)
    assert warnings.filters == before


def test_the_random_state_of_the_process_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    weights = ToyMMDiT(3).blocks[0].image_qkv.weight
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(weights, ToyMMDiT(3).blocks[0].image_qkv.weight)
    assert not torch.equal(weights, ToyMMDiT(4).blocks[0].image_qkv.weight)


ALLOWED = {
    "catch_warnings": {"headrouter/cli/__init__.py", "headrouter/testing/probe.py"},
    "fork_rng": {"plugins/headrouter_shapes/pipelines/build.py"},
    "set_default_dtype": {"headrouter/models/surroundings.py", "headrouter/testing/checks/metric.py"},
    "set_default_device": set(),
    "MAX_IMAGE_PIXELS": set(),
    "LOAD_TRUNCATED_IMAGES": set(),
    "os.chdir": set(),
    "os.umask": set(),
    "random.seed": set(),
    "setlocale": set(),
}
"""State of the process, and what may set it: entry points of programs, the kit, which starts no threads, and what puts it back
when a run ends."""


@pytest.mark.parametrize("name", ALLOWED)
def test_no_library_code_sets_the_state_of_the_process(name: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("headrouter", "adapters", "inversions", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(rf"^[^#\n]*\b{re.escape(name)}\b.*[(=]", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found <= ALLOWED[name]
