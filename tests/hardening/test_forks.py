"""A child process that is forked while a thread loads, discovers plug-ins or computes has what it would have had a moment later."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from headrouter_diffusers import loading
from headrouter_diffusers.testing import tiny_sd3
from headrouter_diffusers.text_parts import TextPart
from headrouter_sd3.parameters import SD3Parameters
from torch import nn

from headrouter import plugins
from headrouter.models.surroundings import undisturbed

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def holds_in_a_child(condition: Callable[[], bool]) -> bool:
    """Whether a forked child ends in time, and the condition holds there."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os._exit(0 if condition() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_while_a_thread_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that a loader replaces are back too."""
    tiny_sd3().save_pretrained(tmp_path)
    plain, inside, go, load_part = nn.Module.register_parameter, threading.Event(), threading.Event(), loading.load_part

    def slowly(*arguments: object) -> object:
        with init_empty_weights():
            inside.set()
            go.wait(0.5)
        return load_part(*arguments)  # type: ignore[arg-type]

    def load() -> bool:
        return SD3Parameters(device="cpu").load(str(tmp_path)).device.type == "cpu"

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load_part", slowly)
        thread = threading.Thread(target=load)
        thread.start()
        assert inside.wait(60)
        patch.setattr(loading, "load_part", load_part)
        assert holds_in_a_child(lambda: nn.Module.register_parameter is plain and load())
    go.set()
    thread.join()


def test_while_a_thread_encodes_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer's own lock, as of native code: nothing opens it in a child that another thread's call was copied into."""
    backbone, own = SD3Parameters().load("tiny", tiny_sd3()), threading.Lock()
    inside, go, encoded = threading.Event(), threading.Event(), TextPart.encoded

    def slowly(part: TextPart, text: str, **options: object) -> object:
        with own:
            inside.set()
            go.wait(0.05)
            return encoded(part, text, **options)

    monkeypatch.setattr(TextPart, "encoded", slowly)
    thread = threading.Thread(target=lambda: backbone.encode_prompts(["a cat"]))
    thread.start()
    assert inside.wait(60)
    assert holds_in_a_child(lambda: backbone.encode_prompts(["a dog"])[0].text == "a dog")
    go.set()
    thread.join()


def test_while_a_thread_discovers_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plugins, "_registry", plugins.registry()
    )  # with what other tests have registered, back afterwards
    inside, go, discover = threading.Event(), threading.Event(), plugins.discover
    names = [entry.qualified_name for entry in plugins.registry().entries("inversion")]

    def slowly(*arguments: object) -> None:
        inside.set()
        go.wait(0.5)
        discover(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(plugins, "discover", slowly)
        thread = threading.Thread(target=plugins.reload)
        thread.start()
        assert inside.wait(60)
        assert holds_in_a_child(
            lambda: [entry.qualified_name for entry in plugins.registry().entries("inversion")] == names
        )
    go.set()
    thread.join()


def test_while_a_thread_computes() -> None:
    """The default number type that the caller set is back, which the thread's computation needed otherwise."""
    inside, go = threading.Event(), threading.Event()

    def compute() -> None:
        with undisturbed():
            inside.set()
            go.wait(60)

    torch.set_default_dtype(torch.float64)
    try:
        thread = threading.Thread(target=compute)
        thread.start()
        assert inside.wait(60)
        assert holds_in_a_child(lambda: torch.get_default_dtype() == torch.float64)
        go.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
