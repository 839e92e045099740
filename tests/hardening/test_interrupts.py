"""An edit that is cut off, between any two lines, leaves the model as it was and does not stand in the way of the next one."""

import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_inversions.euler import Euler
from headrouter_sd3.parameters import SD3Parameters

from headrouter.attention.rows import Row
from headrouter.errors import IncompatibleError
from headrouter.methods.word_maps import WordMaps
from headrouter.models.backbone import Backbone
from headrouter.sampling.engine import Engine, Progress
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.probe import Recorder
from headrouter.testing.snapshot import differences, snapshot
from headrouter.testing.toy import ToyMMDiT

OURS = ("attachment.py", "blocks.py", "processors.py", "interception.py", "tap.py", "engine.py", "occupation.py")


class Cut(BaseException):
    """As an interrupt from the keyboard is, no Exception."""


class At:
    """Raises at the line of that number, of those of our files that are run.

    Python comes back to the line of a ``with`` to leave its block. Such returns are not counted: what can be cut there is
    one instruction, within PyTorch's own contexts too, and a mode or a gradient that it leaves on lasts for all later tests.
    """

    def __init__(self, number: int) -> None:
        self.left = number
        self.entered: set[tuple[int, int]] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        return (
            self.line if code.co_filename.endswith(OURS) and code.co_name != "__del__" else None
        )  # errors there are lost

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "return":
            self.entered = {(number, line) for number, line in self.entered if number != id(frame)}
        if event != "line":
            return self.line
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if text.startswith("with "):
            self.entered ^= {(id(frame), frame.f_lineno)}
        if not text.startswith("with ") or ((id(frame), frame.f_lineno) in self.entered and text != "with _lock:"):
            self.left -= 1
            if self.left == 0:
                raise Cut
        return self.line


def flux() -> Backbone:
    return FluxParameters().load("tiny", tiny_flux())


def sd3() -> Backbone:
    return SD3Parameters().load("tiny", tiny_sd3())


def sample(backbone: Backbone, progress: Progress | None = None) -> torch.Tensor:
    first, second = backbone.encode_prompts(["a cat", "a dog"])
    rows = [Row(first, first, 1.0), Row(second, second, 1.0, edit=0)]
    noise = Noise([0], backbone.latent_shape(32, 32), backbone.device)
    inputs = RunInputs((1.0, 0.6, 0.0), noise("start", 0), noise)
    return Engine(backbone, progress).sample(Euler(), [WordMaps()], rows, inputs, keep_source=True).latents


@pytest.fixture(autouse=True)
def _table_is_restored() -> Iterator[None]:
    before = dict(_AttentionBackendRegistry._backends)
    yield
    assert _AttentionBackendRegistry._backends == before


def attached(backbone: Backbone) -> None:
    with backbone.attach(Recorder()):
        pass


def cut(work: Callable[[], Any], number: int) -> BaseException | None:
    """Cut the work off at its line of that number; the error if it had not ended before."""
    before = sys.gettrace()
    sys.settrace(At(number))
    try:
        work()
    except Cut as error:
        return error
    finally:
        sys.settrace(before)
    return None


def count(work: Callable[[], Any]) -> int:
    """How many lines of our files it runs."""
    before, trace = sys.gettrace(), At(10**6)
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return 10**6 - trace.left


def hooks(backbone: Any) -> list[Any]:
    """What attaching changes, of each module."""
    modules = backbone.pipeline.transformer.modules()
    return [
        (
            dict(module._forward_pre_hooks),
            dict(module._forward_pre_hooks_with_kwargs),
            type(getattr(module, "processor", None)),
        )
        for module in modules
    ]


@pytest.mark.parametrize("build", [flux, sd3])
def test_attaching_is_undone_at_every_line(build: Callable[[], Backbone]) -> None:
    backbone = build()
    plain, before = sample(backbone), hooks(backbone)
    for number in range(1, count(lambda: attached(backbone)) + 1):
        assert cut(lambda: attached(backbone), number)
        assert hooks(backbone) == before, number
    assert torch.equal(sample(backbone), plain)


@pytest.mark.parametrize("build", [ToyMMDiT, sd3])
def test_a_run_that_was_cut_off_does_not_stand_in_the_way(build: Callable[[], Backbone]) -> None:
    """Also while somebody keeps the traceback, as interactive shells do, and with it the frames of the run."""
    backbone = build()
    plain, lines = sample(backbone), count(lambda: sample(backbone))
    for number in range(1, lines, lines // 12):
        kept = cut(lambda: sample(backbone), number)
        assert kept is not None
        assert torch.equal(sample(backbone), plain), number


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("build", [ToyMMDiT, flux, sd3])
def test_an_error_in_a_progress_callback(build: Callable[[], Backbone], error: type[BaseException]) -> None:
    backbone = build()
    plain, before = sample(backbone), snapshot(backbone)
    for last in (1, 2):

        def progress(_: str, done: int, total: int, last: int = last) -> None:
            if done == last:
                raise error

        with suppress(error):
            sample(backbone, progress)
            pytest.fail("it does not reach the caller")
        assert not differences(before, snapshot(backbone))
        assert torch.equal(sample(backbone), plain)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("build", [ToyMMDiT, sd3])
def test_a_child_process_does_not_inherit_the_edit_of_a_thread(build: Callable[[], Backbone]) -> None:
    backbone, inside, go = build(), threading.Event(), threading.Event()
    plain, found = sample(backbone), []
    thread = threading.Thread(target=lambda: found.append(sample(backbone, lambda *_: (inside.set(), go.wait(300)))))
    thread.start()
    assert inside.wait(300)
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # those of OpenMP were not forked
        signal.alarm(300)
        os._exit(0 if torch.equal(sample(backbone), plain) else 1)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(IncompatibleError, match="in the middle of another run"):
        sample(backbone)
    go.set()
    thread.join()
    assert torch.equal(found[0], plain)
