"""What a caller set for its own torch code does not change an edit, and an edit leaves it, and all random state, as it was."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from builders import PICTURE
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_inversions.euler import Euler
from headrouter_sd3.parameters import SD3Parameters

from headrouter import Editor
from headrouter.methods.head_router.method import HeadRouter
from headrouter.models.surroundings import undisturbed
from headrouter.testing.toy import ToyMMDiT

LOADS: dict[str, Callable[[], Any]] = {
    "toy": ToyMMDiT,
    "flux": lambda: FluxParameters().load("tiny", tiny_flux()),
    "sd3": lambda: SD3Parameters().load("tiny", tiny_sd3()),
}


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
        assert torch.get_default_device() == torch.device(name)
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_type(torch.float64),
    "bfloat16": lambda: default_type(torch.bfloat16),
    "meta": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference": torch.inference_mode,
    "gradients off": torch.no_grad,
    "gradients on": torch.enable_grad,
    "deterministic": deterministic,
}


@pytest.fixture(scope="module", params=list(LOADS))
def editor(request: pytest.FixtureRequest) -> Editor:
    return Editor(LOADS[request.param](), Euler(steps=2), HeadRouter(rho=0.1), progress=False)


@pytest.fixture(scope="module")
def plain(editor: Editor) -> Any:
    return everything(editor)


def everything(editor: Editor) -> tuple[Any, ...]:
    kept = editor.invert(PICTURE, "a cat", size=(48, 32))
    result = editor.edit(PICTURE, "a dog", "a cat", size=(48, 32), start=kept)
    (made,) = editor.generate("a cat", steps=2, size=(48, 32))
    maps = [tensor for _, found in result.diagnostics for _, tensor in sorted(found.items())]
    return kept.latents, *maps, *map(np.asarray, (result.image, result.reconstruction, made))


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings_change_nothing(editor: Editor, plain: tuple[Any, ...], name: str) -> None:
    with SURROUNDINGS[name]():
        found = everything(editor)
    for one, other in zip(found, plain, strict=True):
        assert one.dtype == other.dtype and np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
    assert not any(one.is_inference() or one.requires_grad for one in found if isinstance(one, torch.Tensor))


@pytest.mark.parametrize("name", ["float64", "meta", "inference"])
def test_a_model_made_in_other_surroundings_is_the_same(name: str) -> None:
    with SURROUNDINGS[name]():
        toy = ToyMMDiT()
    assert torch.equal(toy.image_in.weight, ToyMMDiT().image_in.weight)


def test_random_state_is_untouched(editor: Editor, plain: tuple[Any, ...]) -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    everything(editor)
    assert states() == before


def test_float32_is_the_default_until_the_last_run_ends() -> None:
    with default_type(torch.float64), torch.enable_grad():
        one, other = undisturbed(), undisturbed()
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float32
        other.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float64


def test_a_run_does_not_take_the_number_type_of_loading_for_the_callers() -> None:
    """Loading sets the process's number type for a while; a run of another thread may begin then, and end before or after it."""
    for ends_first in (True, False):
        begun, may_end = threading.Event(), threading.Event()

        def run(begun: threading.Event = begun, may_end: threading.Event = may_end) -> None:
            with undisturbed():
                begun.set()
                may_end.wait(10)

        thread = threading.Thread(target=run)
        with undisturbed(loading=True):
            torch.set_default_dtype(torch.bfloat16)
            thread.start()
            begun.wait(10)
            if ends_first:
                may_end.set()
                thread.join()
            torch.set_default_dtype(torch.float32)
        may_end.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float32
