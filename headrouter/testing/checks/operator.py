"""Check a velocity operator on the toy model."""

import torch

from headrouter.config.configuration import validate
from headrouter.errors import HeadRouterError
from headrouter.testing.check import check, collect, expect
from headrouter.testing.method_runs import method_rows
from headrouter.testing.operator_runs import changed, edit, watched
from headrouter.testing.probe import distance
from headrouter.testing.snapshot import differences, snapshot
from headrouter.testing.subjects import OperatorSubject
from headrouter.testing.toy import ToyMMDiT


@check(since="0.4")
def it_runs(subject: OperatorSubject) -> None:
    """It edits with one edit and two, guided or not, with one evaluation a step and two; numbers stay finite.

    If this fails: find rows by `event.rows`, not by their number; divide by what cannot be zero.
    """
    for prompts, guidance, midpoint in ((("a cat", "a dog"), 3.0, False), (("a cat", "a dog", "red"), 1.0, True)):
        latents = edit(subject.operator, prompts=prompts, guidance=guidance, midpoint=midpoint, keep_source=True)
        expect(len(latents) == len(prompts), f"{len(prompts)} rows have become {len(latents)}")


@check(since="0.4", requires={"acts"})
def it_changes_the_edit(subject: OperatorSubject) -> None:
    """With these parameters the edit is not the plain one.

    If this fails: look at `start` and `stop`, and at `acts_in`. Set `acts=False` where the defaults change nothing.
    """
    plain, found = (edit(*some, keep_source=True) for some in ((), (subject.operator,)))
    expect(distance(found[-1], plain[-1]) > 1e-6, "the edit is the plain one")


@check(since="0.4")
def at_neutral_settings_it_changes_nothing(subject: OperatorSubject) -> None:
    """With the parameters that it calls neutral every row is that of the plain run, to the bit.

    If this fails: `torch.lerp(source, target, weight)` gives back its ends at the weights 0 and 1; source + 1·(target − source)
    does not.
    """
    neutral = validate(type(subject.operator), {**dict(subject.operator), **subject.operator.neutral})
    for midpoint in (False, True):
        plain, found = (edit(*some, keep_source=True, midpoint=midpoint) for some in ((), (neutral,)))
        off = distance(found, plain)
        expect(torch.equal(found, plain), f"with {dict(subject.operator.neutral)} latents differ by {off:.1e}")


@check(since="0.4")
def an_operator_is_a_function(subject: OperatorSubject) -> None:
    """One object serves many runs: equal runs have equal results; random state and model stay as they are.

    If this fails: keep all state in the `OperatorRun`, none on the operator; draw no noise.
    """
    state, toy = torch.random.get_rng_state(), ToyMMDiT()
    before, first = snapshot(toy), edit(subject.operator)
    edit(subject.operator, prompts=("red", "a dog", "the cat"))
    again = edit(subject.operator)
    expect(torch.equal(torch.random.get_rng_state(), state), "it draws from the global random generator")
    expect(torch.equal(first, again), "the same edit differs after another edit with the same object")
    expect(not differences(before, snapshot(toy)), "it changes the model")
    expect(subject.operator.model_config.get("frozen") is True, "its parameters can be changed after validation")


@check(since="0.4")
def it_keeps_what_it_is_given(subject: OperatorSubject) -> None:
    """Given tensors and sources' rows stay as they are, and velocities keep their shape and dtype.

    If this fails: build the answer by `event.changed(...)`, which leaves sources' rows alone, and never write in place.
    """
    edit(watched(subject.operator), midpoint=True)


@check(since="0.4")
def pictures_are_independent(subject: OperatorSubject) -> None:
    """Two pictures in one batch are edited as each is alone.

    If this fails: find the source of an edit by `event.source_of(place)`, and measure each row by itself.
    """
    toy = ToyMMDiT()
    both = [*method_rows(toy, "a cat", "a dog"), *method_rows(toy, "red", "the dog", image=1)]
    together = changed(toy, [subject.operator], both, [1, 2], keep_source=True)
    alone = changed(toy, [subject.operator], method_rows(toy, "red", "the dog"), [2], keep_source=True)
    off = distance(together[2:], alone)
    expect(off < 1e-4, f"a picture is edited otherwise, by {off:.1e}, when another one is in the batch")


@check(since="0.4")
def edits_are_independent(subject: OperatorSubject) -> None:
    """Two edits of one picture in one batch are what each is alone.

    If this fails: what a run accumulates belongs to one row; keep it by `event.rows[place]`, not by the place in the batch.
    """
    together = edit(subject.operator, prompts=("a cat", "red", "a dog"), keep_source=True)
    alone = edit(subject.operator, keep_source=True)
    off = distance(together[2], alone[1])
    expect(off < 1e-4, f"an edit changes by {off:.1e} when another one is in the batch")


@check(since="0.4")
def the_source_runs_only_as_long_as_it_is_needed(subject: OperatorSubject) -> None:
    """An edit is the same whether the source's row runs to the end or only while the operator needs it.

    If this fails: say `needs_source = True` where it compares with the source; keep what accumulates by row.
    """
    off = distance(edit(subject.operator)[-1], edit(subject.operator, keep_source=True)[-1])
    expect(off < 1e-4, f"the edit differs by {off:.1e} when the source's row runs to the end")


@check(since="0.4")
def a_run_without_a_source_works_or_is_refused(subject: OperatorSubject) -> None:
    """A run without a source works, or is refused by a `HeadRouterError`.

    If this fails: say `needs_source = True` where it compares with the source; the engine refuses then.
    """
    toy = ToyMMDiT()
    try:
        changed(toy, [subject.operator], method_rows(toy, "a cat", "a dog")[1:], [1])
    except HeadRouterError as error:
        expect(bool(str(error)), "it is refused without a word")


CHECKS = collect(globals())
