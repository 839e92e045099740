"""Check a mask on the toy model."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.errors import HeadRouterError
from headrouter.masks.mask import Mask, MaskRun
from headrouter.masks.part import described, mask_of
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.sampling.engine import Sampled
from headrouter.testing.check import check, collect, expect
from headrouter.testing.method_runs import SIZE, edited, method_rows, sample
from headrouter.testing.subjects import MaskSubject
from headrouter.testing.toy import ToyMMDiT

_PICTURE = SIZE[1], SIZE[0]


@final
class _Reads(MethodRun):
    """Reads a mask wherever a part may, and changes nothing."""

    def __init__(self, mask: Mask, context: RunContext):
        self._run: MaskRun = context.mask(mask)
        self._sites = frozenset(site.index for site in context.sites)
        self.within: dict[int, list[Tensor | None]] = {}
        self.after_steps: list[dict[str, Tensor | None]] = []

    def needs(self, step: int) -> Needs:
        return Needs(attention=self._sites, latents=True)

    def before(self, event: JointAttention) -> None:
        for item in event.rows:
            if item.is_edit and item.row.edit == 0:
                self.within.setdefault(event.step_info.forward, []).append(self._copy(item.row, event.layout.grid))

    def _copy(self, row: Row, grid: tuple[int, int]) -> Tensor | None:
        found = self._run.on_tokens(row, grid)
        return None if found is None else found.clone()

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        for row in rows:
            if not row.is_source:
                values = {"latents": self._run.on_latents(row), "picture": self._run.on_picture(row, _PICTURE)}
                self.after_steps.append({name: None if one is None else one.clone() for name, one in values.items()})
        return latents

    def diagnostics(self) -> Mapping[str, Tensor]:
        return {}


def _reading(mask: Mask) -> tuple[Method, list[_Reads]]:
    """Return a method that reads a mask, and the list that its runs are put into."""
    runs = list[_Reads]()

    class Reading(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            runs.append(_Reads(mask, context))
            return runs[-1]

    return Reading(), runs


def _masked(toy: ToyMMDiT, subject: MaskSubject, *prompts: str) -> Sampled:
    return edited(toy, prompts=prompts or ("a cat", "a dog"), mask=subject.mask)


@check(since="0.3")
def its_values_are_shares(subject: MaskSubject) -> None:
    """Its values are numbers from 0 to 1 on latents and picture, 0 or 1 if it is not soft.

    If this fails: clamp them, bring them to `context.grid`, and say `is_soft` where values between 0 and 1 occur.
    """
    method, runs = _reading(subject.mask)
    edited(ToyMMDiT(), method)
    values = [one for run in runs for step in run.after_steps for one in step.items() if one[1] is not None]
    expect(bool(values), "it has no value in any step")
    for where, value in values:
        assert value is not None
        wanted = _PICTURE if where == "picture" else ToyMMDiT().latent_shape(*SIZE)[1:]
        expect(tuple(value.shape) == wanted, f"on the {where} it has the shape {tuple(value.shape)}, not {wanted}")
        expect(value.dtype == torch.float32, f"on the {where} it is {value.dtype}, not float32")
        expect(
            bool((value >= 0).all() and (value <= 1).all()),
            f"on the {where} it goes from {value.min()} to {value.max()}",
        )
        between = bool(((value > 0) & (value < 1)).any())
        expect(
            subject.mask.is_soft or not between,
            f"on the {where} it has values between 0 and 1, and says it is not soft",
        )


@check(since="0.3")
def it_is_known_when_it_says(subject: MaskSubject) -> None:
    """A mask that does not grow is known before the first step; one that does is after the first model call.

    If this fails: name the `sites` that it listens to, take what it heard into its value in `end_call`, and scout in `scout`.
    """
    method, runs = _reading(subject.mask)
    edited(ToyMMDiT(), method)
    (run,) = runs
    grows = run._run.grows
    expect(run.after_steps[0]["latents"] is not None, "after the first step it is not known")
    first = run.within[min(run.within)]
    expect(grows or all(value is not None for value in first), "in the first model call it is not known")


@check(since="0.3")
def it_stays_within_a_call(subject: MaskSubject) -> None:
    """All blocks of a model call see the same value.

    If this fails: change the value in `end_call` alone, not while attention is heard.
    """
    method, runs = _reading(subject.mask)
    edited(ToyMMDiT(), method)
    for call, values in runs[0].within.items():
        known = [value for value in values if value is not None]
        same = len(known) in (0, len(values)) and all(torch.equal(known[0], value) for value in known)
        expect(same, f"in model call {call} it changes from block to block")


@check(since="0.3")
def it_changes_nothing_by_itself(subject: MaskSubject) -> None:
    """An edit with the mask, which nothing uses, is the plain edit, to the bit.

    If this fails: write into nothing that `hear` is given, and scout on latents of its own.
    """
    toy = ToyMMDiT()
    plain, masked = edited(toy, keep_source=True), edited(toy, keep_source=True, mask=subject.mask)
    expect(torch.equal(plain.latents, masked.latents), "the edit differs where the mask is only looked at")


@check(since="0.3")
def a_mask_is_a_function(subject: MaskSubject) -> None:
    """One object serves many runs: equal runs have equal masks, and the global random state stays as it is.

    If this fails: keep all state in the `MaskRun`; draw noise by `context.noise` alone.
    """
    toy, state = ToyMMDiT(), torch.random.get_rng_state()
    first = _masked(toy, subject)
    _masked(toy, subject, "red", "a dog", "the cat")
    again = _masked(toy, subject)
    expect(torch.equal(torch.random.get_rng_state(), state), "it draws from the global random generator")
    same = torch.equal(first.masks["masks"].nan_to_num(-1), again.masks["masks"].nan_to_num(-1))
    expect(same, "the same edit has another mask after another edit with the same object")
    expect(subject.mask.model_config.get("frozen") is True, "its parameters can be changed after they were validated")


@check(since="0.3")
def each_edit_has_its_own(subject: MaskSubject) -> None:
    """The mask of an edit is the same whatever other edits and pictures are in the batch.

    If this fails: keep what a mask is made from by `row`, and count nothing over the batch.
    """
    toy = ToyMMDiT()
    alone = _masked(toy, subject).masks["masks"][0]
    beside = _masked(toy, subject, "a cat", "a dog", "red").masks["masks"][0]
    both = [*method_rows(toy, "a cat", "a dog"), *method_rows(toy, "red", "the dog", image=1)]
    pictures = sample(toy, [], both, [1, 2], mask=subject.mask).masks["masks"][0]
    for found, what in ((beside, "edit"), (pictures, "picture")):
        off = (found - alone).abs().nan_to_num(0).max()
        expect(bool(off < 1e-4), f"the mask changes by {off:.1e} when another {what} is in the batch")


@check(since="0.3")
def what_it_runs_is_counted(subject: MaskSubject) -> None:
    """Every model call of a scout is in the cost of the run.

    If this fails: call the `evaluate` that `scout` is given, never the backbone.
    """
    toy, calls = ToyMMDiT(), 0
    plain = toy.velocity

    def watched(latents: Tensor, sigma: float, rows: Sequence[Row]) -> Tensor:
        nonlocal calls
        calls += 1
        return plain(latents, sigma, rows)

    toy.velocity = watched  # type: ignore[method-assign]
    cost = _masked(toy, subject).cost
    expect(cost.calls == calls, f"the model was called {calls} times, and {cost.calls} are counted")
    expect(
        any(leaf.scouts for leaf in subject.mask.leaves()) or cost.calls == edited(ToyMMDiT()).cost.calls,
        "it runs the model, and does not say `scouts`",
    )


@check(since="0.3")
def it_is_plain_data(subject: MaskSubject) -> None:
    """A registered mask is the same after being written as plain data and read.

    If this fails: let every parameter be plain data, or serialise it as such.
    """
    plain = described(subject.mask)
    expect("class" in plain or mask_of(plain) == subject.mask, f"{plain} is read as another mask")


@check(since="0.3")
def a_mask_without_a_source_works_or_is_refused(subject: MaskSubject) -> None:
    """In a run without a source's row it works, or is refused by a `HeadRouterError`.

    If this fails: `context.source_of` refuses in words for the user.
    """
    toy = ToyMMDiT()
    try:
        sample(toy, [], method_rows(toy, "a cat", "a dog")[1:], [1], phase="generate", mask=subject.mask)
    except HeadRouterError as error:
        expect(bool(str(error)), "it is refused without a word")


CHECKS = collect(globals())
