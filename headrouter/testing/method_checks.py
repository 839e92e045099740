"""A method, run on the toy model."""

import gc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from headrouter.engine import Engine, Sampled
from headrouter.errors import HeadRouterError
from headrouter.inversion import Inversion, Problem, State, Velocity, per_row
from headrouter.joint_attention import JointAttention, TextStream, TokenLayout
from headrouter.method import Method, MethodRun, Needs, Setting
from headrouter.noise import Noise
from headrouter.prompt import Prompt
from headrouter.rows import Row
from headrouter.testing.check import check, collect, expect
from headrouter.testing.probe import distance
from headrouter.testing.snapshot import differences, snapshot
from headrouter.testing.subjects import MethodSubject
from headrouter.testing.toy import ToyMMDiT

STEPS = 4


@final
class _Plain(Inversion):
    """Euler's method from noise."""

    @property
    def inversion_prompt(self) -> Any:
        return "source"

    @property
    def inversion_guidance(self) -> float:
        return 1.0

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        return guidance

    def inversion_steps(self, steps: int) -> range:
        return range(0)

    def sampling_steps(self, steps: int) -> range:
        return range(steps)

    def needs_source(self, step: int, steps: int) -> bool:
        return False

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, problem: Problem) -> State:
        return state

    def initial_state(self, rows: Sequence[Row], problem: Problem) -> State:
        return State(per_row(problem.noise("start", 0), rows))

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, problem: Problem) -> State:
        current, following = problem.sigmas[step], problem.sigmas[step + 1]
        return State(state.latents + (following - current) * velocity(state.latents, current, rows))


def _rows(toy: ToyMMDiT, *prompts: str, image: int = 0, guidance: float = 3.0) -> list[Row]:
    texts: list[Prompt] = toy.encode_prompts([*prompts, ""])
    *prompted, nothing = texts
    return [
        Row(text, nothing, guidance, edit=None if index == 0 else index - 1, image=image)
        for index, text in enumerate(prompted)
    ]


def _sample(
    toy: ToyMMDiT, methods: Sequence[Method], rows: Sequence[Row], seeds: Sequence[int], **asked: Any
) -> Sampled:
    noise = Noise(seeds, toy.latent_shape(24, 16), toy.device)
    problem = Problem(tuple(toy.sigmas(STEPS, 24, 16).tolist()), noise("y0", 0), noise)
    return Engine(toy).sample(_Plain(), methods, rows, problem, **asked)


def _edited(toy: ToyMMDiT, *methods: Method, prompts: Sequence[str] = ("a cat", "a dog"), **asked: Any) -> Sampled:
    return _sample(toy, methods, _rows(toy, *prompts), [1], **asked)


@check(since="0.1")
def it_runs(subject: MethodSubject) -> None:
    """It edits on models with text first and with text last, with one edit and with two, guided or not; numbers stay finite.

    If this fails: take text and image from `event.layout`, rows from `event.rows`; guidance 1 has no unconditional half.
    """
    for text_first in (True, False):
        toy = ToyMMDiT(text_first=text_first)
        for prompts, guidance in ((("a cat", "a dog"), 3.0), (("a cat", "a dog", "a red cat"), 1.0)):
            rows = _rows(toy, *prompts, guidance=guidance)
            sampled = _sample(toy, [subject.method], rows, [1], keep_source=True)
            expect(len(sampled.latents) == len(prompts), f"{len(prompts)} rows have become {len(sampled.latents)}")
            for name, tensor in sampled.evidence[0].items():
                expect(not tensor.requires_grad, f"evidence {name!r} carries a gradient")
                expect(tensor.device.type == "cpu", f"evidence {name!r} is on {tensor.device}")


@check(since="0.1", requires={"acts"})
def it_changes_the_edit(subject: MethodSubject) -> None:
    """With these parameters the edit is not the plain one.

    If this fails: look at `needs`: where it names no site nothing is heard. Say `acts=False` of a method that only looks.
    """
    toy = ToyMMDiT()
    plain, steered = _edited(toy), _edited(toy, subject.method)
    expect(distance(steered.latents[-1], plain.latents[-1]) > 1e-6, "the edit is the plain one")


@check(since="0.1", requires={"neutral"})
def at_strength_zero_it_changes_nothing(subject: MethodSubject) -> None:
    """At strength zero every row is that of the plain run, to the bit.

    If this fails: return the very tensor that was given where nothing shall change; weights of exactly 1 keep bits.
    """
    assert subject.neutral is not None
    for text_first in (True, False):
        toy = ToyMMDiT(text_first=text_first)
        plain, steered = _edited(toy, keep_source=True), _edited(toy, subject.neutral, keep_source=True)
        off = distance(steered.latents, plain.latents)
        expect(torch.equal(steered.latents, plain.latents), f"at strength zero latents differ by {off:.1e}")


@check(since="0.1")
def a_method_is_a_function(subject: MethodSubject) -> None:
    """One object serves many runs: the same run has the same result; the global random state and the model are left alone.

    If this fails: keep all state in the `MethodRun`, none on the method or the model; draw no noise.
    """
    toy, state = ToyMMDiT(), torch.random.get_rng_state()
    before, attributes = snapshot(toy), dict(vars(toy))
    first = _edited(toy, subject.method)
    _edited(toy, subject.method, prompts=("red", "a dog", "the cat"))
    again = _edited(toy, subject.method)
    expect(torch.equal(torch.random.get_rng_state(), state), "it draws from the global random generator")
    expect(torch.equal(first.latents, again.latents), "the same edit differs after another edit with the same object")
    left = differences(before, snapshot(toy))
    expect(not left and vars(toy) == attributes, f"it changes the model: {left or 'its attributes'}")
    expect(subject.method.model_config.get("frozen") is True, "its parameters can be changed after they were validated")


@final
class _Watched(Method):
    """A method, watched for what it does to tensors it must not write into."""

    method: Method

    @property
    def requires(self) -> frozenset[str]:
        return self.method.requires

    def begin(self, setting: Setting) -> MethodRun:
        return _WatchedRun(self.method.begin(setting), setting)


class _WatchedRun(MethodRun):
    def __init__(self, run: MethodRun, setting: Setting):
        self.run, self.sites = run, {site.index for site in setting.sites}
        self.known = [run.needs(step) for step in range(setting.steps)]

    def needs(self, step: int) -> Needs:
        needs = self.run.needs(step)
        expect(needs == self.known[step], f"`needs({step})` changes from {self.known[step]} to {needs}")
        unknown = sorted((needs.attention | needs.text) - self.sites)
        expect(not unknown, f"`needs({step})` names sites {unknown} that the model does not have")
        return needs

    def before(self, event: JointAttention) -> None:
        given = {name: getattr(event, name) for name in ("query", "key", "value")}
        kept = {name: tensor.clone() for name, tensor in given.items()}
        self.run.before(event)
        for name, tensor in given.items():
            expect(torch.equal(tensor, kept[name]), f"`before` writes into the event's {name}; assign a new tensor")
            new = getattr(event, name)
            expect(new.dtype == tensor.dtype, f"`before` assigns a {name} of {new.dtype} for {tensor.dtype}")

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        return self.run.wants_log_sum_exp(event)

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        kept = output.clone()
        answer = self.run.after(event, output)
        expect(torch.equal(output, kept), "`after` writes into the output it is given; make a new tensor")
        expect(answer.shape == output.shape, f"`after` gives {tuple(answer.shape)} for {tuple(output.shape)}")
        expect(answer.dtype == output.dtype, f"`after` gives {answer.dtype} for {output.dtype}")
        return answer

    def text(self, stream: TextStream) -> Tensor:
        kept = stream.hidden.clone()
        answer = self.run.text(stream)
        expect(torch.equal(stream.hidden, kept), "`text` writes into the stream; make a new tensor")
        expect(answer.shape == kept.shape, f"`text` gives {tuple(answer.shape)} for {tuple(kept.shape)}")
        return answer

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        kept = latents.clone()
        answer = self.run.end_step(step, latents, rows)
        expect(torch.equal(latents, kept), "`end_step` writes into the latents; make a new tensor")
        return answer

    def begin_forward(self, layout: TokenLayout) -> None:
        self.run.begin_forward(layout)

    def evidence(self) -> Mapping[str, Tensor]:
        return self.run.evidence()


@check(since="0.1")
def it_writes_into_nothing_it_is_given(subject: MethodSubject) -> None:
    """Tensors that it is given stay as they are, what it gives has their shape and dtype, and `needs` does not change.

    If this fails: `output * weight` makes a new tensor, `output *= weight` does not; the model goes on to use what was given.
    """
    _edited(ToyMMDiT(), _Watched(method=subject.method))


@check(since="0.1")
def pictures_are_independent(subject: MethodSubject) -> None:
    """Two pictures in one batch are edited as each is alone.

    If this fails: find the source of an edit by `pair` of its batch row, and count nothing over the whole batch.
    """
    toy = ToyMMDiT()
    both = [*_rows(toy, "a cat", "a dog"), *_rows(toy, "red", "the dog", image=1)]
    together = _sample(toy, [subject.method], both, [1, 2], keep_source=True)
    alone = _sample(toy, [subject.method], both[:2], [1], keep_source=True)
    off = distance(together.latents[:2], alone.latents)
    expect(off < 1e-4, f"a picture is edited otherwise, by {off:.1e}, when another one is in the batch")


@check(since="0.1")
def edits_are_independent(subject: MethodSubject) -> None:
    """Two edits of one picture in one batch are what each is alone.

    If this fails: what a run accumulates belongs to one row; find it by `row`, not by its place in the batch.
    """
    toy = ToyMMDiT()
    together = _edited(toy, subject.method, prompts=("a cat", "a dog", "red"), keep_source=True)
    alone = _edited(toy, subject.method, keep_source=True)
    off = distance(together.latents[1], alone.latents[1])
    expect(off < 1e-4, f"an edit changes by {off:.1e} when another one is in the batch")


@check(since="0.1")
def the_source_runs_only_as_long_as_it_is_needed(subject: MethodSubject) -> None:
    """An edit is the same whether the source's row runs to the end, or only while the method says that it needs it.

    If this fails: say `pair=True` in `needs` for each step that compares with the source or copies from it.
    """
    toy = ToyMMDiT()
    short, whole = _edited(toy, subject.method), _edited(toy, subject.method, keep_source=True)
    off = distance(short.latents[-1], whole.latents[-1])
    expect(off < 1e-4, f"the edit differs by {off:.1e} when the source's row runs to the end")


@check(since="0.1")
def a_run_without_a_source_works_or_is_refused(subject: MethodSubject) -> None:
    """Generating, where there is no source, works, or is refused by a `HeadRouterError`.

    If this fails: `pair` is None where no source runs; refuse in `begin` what cannot work, in words for the user.
    """
    toy = ToyMMDiT()
    try:
        _sample(toy, [subject.method], _rows(toy, "a cat", "a dog")[1:], [1], phase="generate")
    except HeadRouterError as error:
        expect(bool(str(error)), "it is refused without a word")


class _Spy(MethodRun):
    """Notes every event without keeping it."""

    def __init__(self, sites: frozenset[int], seen: "list[weakref.ref[JointAttention]]"):
        self.sites, self.seen = sites, seen

    def needs(self, step: int) -> Needs:
        return Needs(attention=self.sites)

    def before(self, event: JointAttention) -> None:
        if event.site.index == 0:
            _all_freed(self.seen, "when the next forward pass begins")
        self.seen.append(weakref.ref(event))

    def evidence(self) -> Mapping[str, Tensor]:
        return {}


def _all_freed(seen: "list[weakref.ref[JointAttention]]", when: str) -> None:
    gc.collect()
    alive = sum(reference() is not None for reference in seen)
    expect(not alive, f"{alive} of {len(seen)} attention events are still alive {when}")


@check(since="0.1")
def it_keeps_no_events(subject: MethodSubject) -> None:
    """No event outlives its forward pass: attention is large.

    If this fails: keep numbers, not events; a closure or a generator over an event keeps all of it.
    """
    seen = list["weakref.ref[JointAttention]"]()

    class Spying(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, setting: Setting) -> MethodRun:
            return _Spy(frozenset(site.index for site in setting.sites), seen)

    _edited(ToyMMDiT(), Spying(), subject.method)
    _all_freed(seen, "after the run")


CHECKS = collect(globals())
