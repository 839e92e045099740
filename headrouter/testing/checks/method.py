"""Check a method on the toy model."""

import gc
import weakref
from collections.abc import Mapping

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.errors import HeadRouterError
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.testing.check import check, collect, expect
from headrouter.testing.checks.watched import Watched
from headrouter.testing.method_runs import edited, method_rows, references_for, sample
from headrouter.testing.probe import distance
from headrouter.testing.snapshot import differences, snapshot
from headrouter.testing.subjects import MethodSubject
from headrouter.testing.toy import ToyMMDiT


@check(since="0.1")
def it_runs(subject: MethodSubject) -> None:
    """It edits with text first and last, one edit and two, guided or not; numbers stay finite.

    If this fails: take text and image from `event.layout`, rows from `event.rows`; guidance 1 has no unconditional branch.
    """
    given = references_for(subject.method)
    for text_first in (True, False):
        toy = ToyMMDiT(text_first=text_first)
        for prompts, guidance in ((("a cat", "a dog"), 3.0), (("a cat", "a dog", "a red cat"), 1.0)):
            rows = method_rows(toy, *prompts, guidance=guidance, references=given)
            sampled = sample(toy, [subject.method], rows, [1], keep_source=True)
            expect(len(sampled.latents) == len(prompts), f"{len(prompts)} rows have become {len(sampled.latents)}")
            for name, tensor in sampled.diagnostics[0].items():
                expect(not tensor.requires_grad, f"diagnostic {name!r} carries a gradient")
                expect(tensor.device.type == "cpu", f"diagnostic {name!r} is on {tensor.device}")


@check(since="0.1", requires={"acts"})
def it_changes_the_edit(subject: MethodSubject) -> None:
    """With these parameters the edit is not the plain one.

    If this fails: look at `needs`: where it names no site no event arrives. Set `acts=False` for a method that only records.
    """
    given = references_for(subject.method)
    toy = ToyMMDiT()
    plain, steered = edited(toy, references=given), edited(toy, subject.method, references=given)
    expect(distance(steered.latents[-1], plain.latents[-1]) > 1e-6, "the edit is the plain one")


@check(since="0.1", requires={"neutral"})
def at_strength_zero_it_changes_nothing(subject: MethodSubject) -> None:
    """At strength zero every row is that of the plain run, to the bit.

    If this fails: return the very tensor that was given where nothing shall change; weights of exactly 1 keep bits.
    """
    given = references_for(subject.method)
    assert subject.neutral is not None
    for text_first in (True, False):
        toy = ToyMMDiT(text_first=text_first)
        plain, steered = (
            edited(toy, references=given, keep_source=True),
            edited(toy, subject.neutral, references=given, keep_source=True),
        )
        off = distance(steered.latents, plain.latents)
        expect(torch.equal(steered.latents, plain.latents), f"at strength zero latents differ by {off:.1e}")


@check(since="0.1")
def a_method_is_a_function(subject: MethodSubject) -> None:
    """One object serves many runs: equal runs have equal results; random state and model stay as they are.

    If this fails: keep all state in the `MethodRun`, none on the method or the model; draw no noise.
    """
    given = references_for(subject.method)
    toy, state = ToyMMDiT(), torch.random.get_rng_state()
    before, attributes = snapshot(toy), dict(vars(toy))
    first = edited(toy, subject.method, references=given)
    edited(toy, subject.method, references=given, prompts=("red", "a dog", "the cat"))
    again = edited(toy, subject.method, references=given)
    expect(torch.equal(torch.random.get_rng_state(), state), "it draws from the global random generator")
    expect(torch.equal(first.latents, again.latents), "the same edit differs after another edit with the same object")
    left = differences(before, snapshot(toy))
    expect(not left and vars(toy) == attributes, f"it changes the model: {left or 'its attributes'}")
    expect(subject.method.model_config.get("frozen") is True, "its parameters can be changed after they were validated")


@check(since="0.1")
def it_writes_into_nothing_it_is_given(subject: MethodSubject) -> None:
    """Given tensors stay as they are, returned ones have their shape and dtype, and `needs` does not change.

    If this fails: `output * weight` makes a new tensor, `output *= weight` does not; the model goes on to use what was given.
    """
    given = references_for(subject.method)
    edited(ToyMMDiT(), Watched(method=subject.method), references=given)


@check(since="0.1")
def pictures_are_independent(subject: MethodSubject) -> None:
    """Two pictures in one batch are edited as each is alone.

    If this fails: find the source of an edit by `pair` of its batch row, and count nothing over the whole batch.
    """
    given = references_for(subject.method)
    toy = ToyMMDiT()
    other = references_for(subject.method, 1)
    both = [
        *method_rows(toy, "a cat", "a dog", references=given),
        *method_rows(toy, "red", "the dog", image=1, references=other),
    ]
    together = sample(toy, [subject.method], both, [1, 2], keep_source=True)
    alone = sample(toy, [subject.method], both[:2], [1], keep_source=True)
    off = distance(together.latents[:2], alone.latents)
    expect(off < 1e-4, f"a picture is edited otherwise, by {off:.1e}, when another one is in the batch")


@check(since="0.1")
def edits_are_independent(subject: MethodSubject) -> None:
    """Two edits of one picture in one batch are what each is alone.

    If this fails: what a run accumulates belongs to one row; find it by `row`, not by its place in the batch.
    """
    given = references_for(subject.method)
    toy = ToyMMDiT()
    together = edited(toy, subject.method, references=given, prompts=("a cat", "a dog", "red"), keep_source=True)
    alone = edited(toy, subject.method, references=given, keep_source=True)
    off = distance(together.latents[1], alone.latents[1])
    expect(off < 1e-4, f"an edit changes by {off:.1e} when another one is in the batch")


@check(since="0.1")
def the_source_runs_only_as_long_as_it_is_needed(subject: MethodSubject) -> None:
    """An edit is the same whether the source's row runs to the end or only while needed.

    If this fails: say `pair=True` in `needs` for each step that compares with the source or copies from it.
    """
    given = references_for(subject.method)
    toy = ToyMMDiT()
    short, whole = (
        edited(toy, subject.method, references=given),
        edited(toy, subject.method, references=given, keep_source=True),
    )
    off = distance(short.latents[-1], whole.latents[-1])
    expect(off < 1e-4, f"the edit differs by {off:.1e} when the source's row runs to the end")


@check(since="0.2")
def a_known_source_is_evaluated_where_it_is_compared(subject: MethodSubject) -> None:
    """An edit is the same where a known source is evaluated only as far as the method pairs with it.

    If this fails: `pair="conditional"` in `needs` is for methods that compare in the conditional branch alone; say `pair=True`.
    """
    given = references_for(subject.method)
    toy = ToyMMDiT()
    whole, part = (edited(toy, subject.method, references=given, known=known) for known in (False, True))
    off = distance(part.latents[-1], whole.latents[-1])
    expect(
        off < 1e-4, f"the edit differs by {off:.1e} when the source is evaluated only where the method pairs with it"
    )


@check(since="0.1")
def a_run_without_a_source_works_or_is_refused(subject: MethodSubject) -> None:
    """Generating, where there is no source, works, or is refused by a `HeadRouterError`.

    If this fails: `pair` is None where no source runs; refuse in `begin` what cannot work, in words for the user.
    """
    given = references_for(subject.method)
    toy = ToyMMDiT()
    try:
        rows = method_rows(toy, "a cat", "a dog", references=given)[1:]
        sample(toy, [subject.method], rows, [1], phase="generate")
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

    def diagnostics(self) -> Mapping[str, Tensor]:
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
    given = references_for(subject.method)
    seen = list["weakref.ref[JointAttention]"]()

    class Spying(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return _Spy(frozenset(site.index for site in context.sites), seen)

    edited(ToyMMDiT(), Spying(), subject.method, references=given)
    _all_freed(seen, "after the run")


CHECKS = collect(globals())
