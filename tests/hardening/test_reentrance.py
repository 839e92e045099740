"""Editors side by side: in one another's methods, on one pipeline, in threads. What comes out is what comes out alone,
or a clear sentence."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from builders import PICTURE
from headrouter_diffusers import autoencoder
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_inversions.euler import Euler
from headrouter_sd3.backbone import SD3Backbone
from headrouter_sd3.parameters import SD3Parameters

from headrouter import Editor
from headrouter.attention.rows import Row
from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.models.backbone import Backbone
from headrouter.sampling.engine import Engine
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

from .told import refused

ROUTER = HeadRouter(gamma=1.0)


def backbones() -> dict[str, Callable[[], Backbone]]:
    return {
        "toy": ToyMMDiT,
        "flux": lambda: FluxParameters().load("tiny", tiny_flux()),
        "sd3": lambda: SD3Parameters().load("tiny", tiny_sd3()),
    }


def editor(backbone: Any, *methods: Method, **values: Any) -> Editor:
    return Editor(backbone, Euler(steps=2), list(methods), progress=False, **values)


def edited(tool: Editor, **asked: Any) -> Any:
    return np.asarray(tool.edit(PICTURE, "a dog", "a cat", size=(48, 32), maps=False, **asked).image)


class Calling(Method):
    """Changes nothing; calls a function once, within an attention layer or between two steps."""

    place: str

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        return _Run(self.place)


calls: dict[str, Callable[[], Any]] = {}
"""What the next run of a method is to call, by place."""


class _Run(MethodRun):
    def __init__(self, place: str) -> None:
        self.place, self.called = place, False

    def needs(self, step: int) -> Needs:
        return Needs(attention=frozenset({1}), latents=True)

    def _now(self, place: str) -> None:
        if place == self.place and not self.called:
            self.called = True
            calls.pop(self.place)()

    def after(self, event: Any, output: Any) -> Any:
        self._now("attention")
        return output

    def end_step(self, step: int, latents: Any, rows: Any) -> Any:
        self._now("step")
        return latents

    def diagnostics(self) -> Mapping[str, torch.Tensor]:
        assert self.called
        return {}


PLACES = ("attention", "step")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("outer", "inner"), [("flux", "sd3"), ("sd3", "flux"), ("flux", "flux"), ("toy", "sd3")])
def test_an_editor_inside_a_method_of_another(outer: str, inner: str, place: str) -> None:
    around, within = backbones()[outer](), backbones()[inner]()
    alone = edited(editor(within, ROUTER))
    plain = edited(editor(around, ROUTER))
    heard = []
    calls[place] = lambda: heard.append(edited(editor(within, ROUTER)))
    assert np.array_equal(edited(editor(around, Calling(place=place), ROUTER)), plain)
    assert np.array_equal(heard[0], alone)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["toy", "flux"])
@pytest.mark.parametrize("use", ["edit", "invert", "generate"])
def test_an_editor_inside_its_own_method_is_refused(kind: str, place: str, use: str) -> None:
    backbone = backbones()[kind]()
    tool = editor(backbone, ROUTER)
    uses: dict[str, Callable[[], Any]] = {
        "edit": lambda: edited(editor(backbone)),
        "invert": lambda: tool.invert(PICTURE, "a cat", size=(48, 32)),
        "generate": lambda: tool.generate("a dog", size=(48, 32)),
    }
    plain = edited(tool)
    calls[place] = uses[use]
    with pytest.raises(IncompatibleError, match=r"is in the middle of another run.*an editor with a model of its own"):
        edited(editor(backbone, Calling(place=place), ROUTER))
    assert np.array_equal(edited(tool), plain), "afterwards it is what it was"


@pytest.mark.parametrize("place", PLACES)
def test_one_pipeline_in_two_editors(place: str) -> None:
    pipeline = tiny_flux()
    one, other = (FluxParameters().load("tiny", pipeline) for _ in range(2))
    plain, unsteered = edited(editor(one, ROUTER)), edited(editor(one))
    assert np.array_equal(edited(editor(other, ROUTER)), plain), "one after the other"
    heard = []
    calls[place] = lambda: heard.append(edited(editor(other)))
    if place == "attention":
        with pytest.raises(IncompatibleError, match=r"called from within one of its own attention layers"):
            edited(editor(one, Calling(place=place), ROUTER))
    else:
        assert np.array_equal(edited(editor(one, Calling(place=place), ROUTER)), plain)
        assert np.array_equal(heard[0], unsteered), "nobody hears it"
        calls[place] = lambda: edited(editor(other, ROUTER))
        with pytest.raises(IncompatibleError, match=r"already being steered.*its own pipeline"):
            edited(editor(one, Calling(place=place), ROUTER))
    assert np.array_equal(edited(editor(one, ROUTER)), plain)


def test_an_editor_inside_a_progress_callback() -> None:
    toy, other = ToyMMDiT(), ToyMMDiT(1)
    alone = edited(editor(other, ROUTER))
    heard: list[Any] = []
    first, second = toy.encode_prompts(["a cat", "a dog"])
    rows = [Row(first, first, 1.0), Row(second, second, 1.0, edit=0)]
    noise = Noise([0], toy.latent_shape(48, 32), toy.device)
    inputs = RunInputs((1.0, 0.5, 0.0), noise("start", 0), noise)
    sample = lambda progress: Engine(toy, progress).sample(  # noqa: E731
        Euler(), [ROUTER], rows, inputs, phase="generate", keep_source=True
    )
    plain = sample(None).latents
    assert torch.equal(sample(lambda *_: heard.append(edited(editor(other, ROUTER)))).latents, plain)
    assert len(heard) == 2
    assert all(np.array_equal(one, alone) for one in heard)
    with pytest.raises(IncompatibleError, match="in the middle of another run"):
        sample(lambda *_: edited(editor(toy)))
    assert torch.equal(sample(None).latents, plain)


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What it gives in a thread of its own, or what it raises there."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert found, "the thread waits for ever"
    return found[0]


@pytest.mark.parametrize(("kind", "place"), [("toy", "attention"), ("toy", "step"), ("flux", "step")])
def test_two_threads_on_one_editor(kind: str, place: str) -> None:
    """While one thread is in the middle of an edit, the other is refused, and the first one's edit is right."""
    backbone = backbones()[kind]()
    plain, heard = edited(editor(backbone, ROUTER)), []
    calls[place] = lambda: heard.append(in_a_thread(lambda: edited(editor(backbone, ROUTER))))
    assert np.array_equal(edited(editor(backbone, Calling(place=place), ROUTER)), plain)
    assert isinstance(heard[0], IncompatibleError)
    assert "in the middle of another run" in str(heard[0])


def test_two_threads_on_one_pipeline() -> None:
    """Between two steps of the first: what the second does unsteered is right, and steering is refused."""
    pipeline = tiny_sd3()
    one, other = (SD3Parameters().load("tiny", pipeline) for _ in range(2))
    plain, unsteered = edited(editor(one, ROUTER)), edited(editor(one))
    for methods in ((), (ROUTER,)):
        heard: list[Any] = []
        calls["step"] = lambda methods=methods, heard=heard: heard.append(
            in_a_thread(lambda: edited(editor(other, *methods)))
        )
        assert np.array_equal(edited(editor(one, Calling(place="step"), ROUTER)), plain)
        if methods:
            assert isinstance(heard[0], IncompatibleError)
            assert "already being steered" in str(heard[0])
        else:
            assert np.array_equal(heard[0], unsteered)


def test_threads_at_random() -> None:
    """Two pipelines, four threads, each pipeline in two editors: every result is the one alone, or a refusal."""
    pipelines = [tiny_flux(), tiny_sd3()]
    load = (lambda: FluxParameters().load("tiny", pipelines[0]), lambda: SD3Parameters().load("tiny", pipelines[1]))
    tools = [editor(load[number % 2](), ROUTER) for number in range(4)]
    alone = [edited(tool) for tool in tools]
    found: list[list[Any]] = [[] for _ in tools]
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(3):
            told, result = refused(lambda: edited(tools[number]))
            assert "already being steered" in told or result is not None
            found[number].append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(results) for results in found] == [3] * 4
    assert any(result is not None for results in found for result in results)
    for results, wanted in zip(found, alone, strict=True):
        assert all(result is None or np.abs(result.astype(int) - wanted).max() <= 1 for result in results)


def test_two_threads_on_two_pipelines() -> None:
    tools = [editor(backbones()[kind](), ROUTER) for kind in ("flux", "sd3")]
    alone = [edited(tool) for tool in tools]
    found: dict[int, list[Any]] = {0: [], 1: []}
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        barrier.wait()
        found[number].extend(edited(tools[number]) for _ in range(3))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, results in found.items():
        assert len(results) == 3
        assert all(np.abs(result.astype(int) - alone[number]).max() <= 1 for result in results)


def test_parts_of_one_pipeline_are_used_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = tiny_sd3()
    tools = [SD3Parameters().load("tiny", pipeline) for _ in range(2)]
    inside: list[int] = []
    together: list[int] = []

    def slow(*_: Any, **__: Any) -> torch.Tensor:
        inside.append(1)
        time.sleep(0.05)
        together.append(len(inside))
        inside.pop()
        return torch.zeros(1, 4, 1, 1)

    for name in ("encode", "decode"):
        monkeypatch.setattr(autoencoder, name, slow)
    monkeypatch.setattr(SD3Backbone, "encode_prompt", lambda *_: {"prompt_embeds": slow()})
    works: list[Callable[[Backbone], Any]] = [
        lambda backbone: backbone.decode(torch.zeros(1, 4, 8, 12)),
        lambda backbone: backbone.encode_image(torch.zeros(1, 3, 32, 48)),
        lambda backbone: backbone.encode_prompts(["a cat"]),
    ]
    threads = [threading.Thread(target=work, args=(tool,)) for tool in tools for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1] * 6
