"""Injection of chosen heads: they alone take from the source, whoever chooses them, and the others stay as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from headrouter_diffusers.testing import tiny_sd35
from headrouter_injection.method import Injection
from headrouter_injection.reference import injected_attention_reference, replaced_attention_reference
from headrouter_inversions.euler import Euler
from headrouter_inversions.flowedit import FlowEdit
from headrouter_sd3.parameters import SD35Parameters
from PIL import Image
from pydantic import ValidationError

from headrouter import Editor
from headrouter.attention.joint_attention import JointAttention
from headrouter.config.controls import controls_of
from headrouter.editing.assembly import methods_of
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.head_weights import dissimilarity_reference
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.sampling.engine import Engine
from headrouter.testing import MethodConformance, MethodSubject
from headrouter.testing.masks import ConstantMask
from headrouter.testing.toy import ToyMMDiT

from .runs import event, inputs, layout, rows, sample

EVERY = tuple((block, head) for block in range(3) for head in range(4))
SOURCES = {1: 0, 2: 0, 4: 3, 5: 3}
"""Of the event's rows: places of edits, unconditional and conditional, and of their sources."""


class TestConformance(MethodConformance):
    @pytest.fixture(
        params=[
            MethodSubject("injection-heads", Injection(replace="kivi", tau=1.0, heads=((0, 1), (2, 3)))),
            MethodSubject("injection-reactive", Injection(tau=1.0, heads="most-reactive", top=2)),
        ],
        ids=lambda subject: subject.name,
    )
    def method(self, request: pytest.FixtureRequest) -> Any:
        return request.param


def injected(joint: JointAttention, **values: Any) -> JointAttention:
    """An event after injection, of a model whose first block has the event's heads."""
    toy = ToyMMDiT()
    run = Engine(toy).begin(Euler(), [Injection(tau=1.0, **values)], rows(toy, "a cat", "a dog", "a fox"), inputs(toy))[
        0
    ]
    run._heads._means._edits = {item.row: item.row.edit for item in joint.rows if item.is_edit}  # type: ignore[attr-defined]
    run.before(joint)
    return joint


class Compare(Method):
    """Compares every attention with the explicit one, head by head."""

    replace: tuple[Any, ...]
    heads: Any
    seen: Any

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        return _CompareRun(self, context)


class _CompareRun(MethodRun):
    def __init__(self, method: Compare, context: RunContext):
        self.method = method
        sites, alone = (frozenset(site.index for site in some) for some in (context.sites, context.image_sites))
        self.events = Needs(attention=sites, image_attention=alone, pair=True)

    def needs(self, step: int) -> Needs:
        return self.events

    def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
        made, method = event.original(), self.method
        for place, item in enumerate(event.rows):
            own, source = (
                [getattr(made, name)[at] for name in ("query", "key", "value")] for at in (place, item.pair or 0)
            )
            heads = method.heads.get(event.site.index, ()) if item.pair is not None else ()
            expected = injected_attention_reference(own, source, event.layout, method.replace, heads, event.scale)
            torch.testing.assert_close(output[place], expected, atol=1e-5, rtol=1e-5)
            method.seen.add((event.site.index, event.site.stream, item.cfg_branch, item.row.edit))
        return output

    def diagnostics(self) -> dict[str, torch.Tensor]:
        return {}


@pytest.mark.parametrize("replace", ["kivi", "qiki", "qk"])
def test_chosen_heads_alone_take_from_the_source_in_every_block(replace: str) -> None:
    """Dual and single-stream blocks, two edits together, both branches: what attention head by head gives."""
    seen: set[Any] = set()
    chosen = Injection(replace=replace, tau=1.0, heads=((0, 2), (2, 0), (2, 3)))
    compare = Compare(replace=(replace,), heads={0: (2,), 2: (0, 3)}, seen=seen)
    sample(ToyMMDiT(), chosen, compare, prompts=("a red cat", "a blue dog", "a fox"))
    streams = [(0, "dual"), (1, "dual"), (2, "single")]
    branches = [(branch, edit) for branch in ("unconditional", "conditional") for edit in (None, 0, 1)]
    assert seen == {(*block, *branch) for block in streams for branch in branches}


def test_attention_among_image_tokens() -> None:
    seen: set[Any] = set()
    chosen = Injection(tau=1.0, replace="kivi", heads=((1, 0),), image_attention=True)
    editor = Editor(
        SD35Parameters().load("tiny", tiny_sd35()),
        FlowEdit(plain_steps=0),
        [chosen, Compare(replace=("kivi",), heads={1: (0,)}, seen=seen)],
        progress=False,
    )
    editor.edit(Image.new("RGB", (32, 24), "teal"), "a dog", "a cat", steps=2, size=(32, 32), maps=False)
    assert {(1, "dual"), (1, "image")} <= {place[:2] for place in seen}


@pytest.mark.parametrize("replace", ["qiki", "kivi", "T2I"])
def test_all_heads_however_they_are_chosen_are_one(replace: str) -> None:
    toy = ToyMMDiT()
    expected = sample(toy, Injection(replace=replace, tau=1.0)).latents
    for values in ({"heads": EVERY}, {"heads": "most-reactive", "top": 4}, {"heads": "least-reactive", "top": 1.0}):
        found = sample(toy, Injection(replace=replace, tau=1.0, **values)).latents  # type: ignore[arg-type]
        assert torch.equal(found, expected), values


@pytest.mark.parametrize("replace", ["kivi", "qk", ("I2I", "T2I"), ("qi", "T2I")])
def test_sets_of_heads_that_share_none_act_apart(replace: Any) -> None:
    """Within one attention the outputs of other heads are those without injection, bit for bit."""
    plain, every = (one.attend() for one in (event(layout("ti")), injected(event(layout("ti")), replace=replace)))
    for heads in ((0,), (1,), (0, 2)):
        found = injected(event(layout("ti")), replace=replace, heads=tuple((0, head) for head in heads)).attend()
        for head in range(3):
            assert torch.equal(found[:, head], (every if head in heads else plain)[:, head])
            assert not torch.equal(every[list(SOURCES), head], plain[list(SOURCES), head])


def test_regions_of_chosen_heads_are_the_explicit_softmax() -> None:
    """Outputs, and the probabilities that other methods read."""
    where, names = layout("it"), ("T2I", "I2T")
    bias = torch.randn(6, 3, where.length, where.length, generator=torch.Generator().manual_seed(2))
    joint = injected(event(where, bias=bias), replace=names, heads=((0, 1),))
    q, k, v = joint.query, joint.key, joint.value
    ones = torch.eye(where.length).expand(3, -1, -1)
    for values in (v[4], ones):
        with_regions, without = (
            replaced_attention_reference(q[4], k[4], values, q[3], k[3], where, some, joint.scale, bias[4])
            for some in (names, ())
        )
        expected = torch.stack([without[0], with_regions[1], without[2]])
        if values is ones:
            block = torch.cat([part for _, part in joint.text_to_image(4, (1, 4))])
            expected = expected[:, where.image][:, :, [where.text.start + 1, where.text.start + 4]]
            torch.testing.assert_close(block, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(joint.log_sum_exp()[4, 1], _log_sum_exp(joint, names), atol=1e-5, rtol=1e-5)
        else:
            torch.testing.assert_close(joint.attend()[4], expected, atol=1e-5, rtol=1e-5)


def _log_sum_exp(joint: JointAttention, names: tuple[str, ...]) -> torch.Tensor:
    own, source = (joint.query[row, 1] @ joint.key[row, 1].T * joint.scale for row in (4, 3))
    image, text = joint.layout.image, joint.layout.text
    own[image, text], own[text, image] = source[image, text], source[text, image]
    assert joint.bias is not None and names == ("T2I", "I2T")
    return (own + joint.bias[4, 1]).logsumexp(-1)


@pytest.mark.parametrize("order", ["ti", "rti"])
def test_the_edit_chooses_the_heads_that_react_most_or_least(order: str) -> None:
    """By the outputs of the conditional branch, for both branches; and what is left is what the other choice takes."""
    plain = event(layout(order)).attend()
    for count in (1, 2):
        for conditional, source in ((4, 3), (5, 3)):
            ranked = dissimilarity_reference(plain[source], plain[conditional]).argsort(descending=True).tolist()
            for choice, expected in (("most-reactive", ranked[:count]), ("least-reactive", ranked[3 - count :])):
                joint = injected(event(layout(order)), replace="kivi", heads=choice, top=count)
                for place in (conditional, conditional - 3):
                    changed = (joint.value[place] != event(layout(order)).value[place]).flatten(1).any(1)
                    assert changed.nonzero().flatten().tolist() == sorted(expected)


def test_changes_of_methods_before_it_do_not_choose() -> None:
    joint, plain = event(layout("ti")), event(layout("ti")).attend()
    joint.query = joint.query.flip(1)
    before = joint.value
    injected(joint, replace="kivi", heads="most-reactive", top=1)
    assert (joint.value[4] != before[4]).flatten(1).any(1).nonzero().item() == dissimilarity_reference(
        *plain[3:5]
    ).argmax()


def test_the_choice_is_in_the_diagnostics() -> None:
    toy = ToyMMDiT()
    most, least = (
        sample(toy, Injection(tau=0.5, heads=heads, top=top), Injection(tau=0)).diagnostics[0]["injecting_heads"]  # type: ignore[arg-type]
        for heads, top in (("most-reactive", 1), ("least-reactive", 0.75))
    )
    assert most.shape == (1, 6, 3, 4) and torch.equal(most[0, :3].sum(-1), torch.ones(3, 3))
    assert torch.equal(most[0, 0, 0] + least[0, 0, 0], torch.ones(4)), "the same first attention, and its other heads"
    assert most[0, 3:].isnan().all()
    assert not sample(toy, Injection(heads=EVERY)).diagnostics[0]


def test_a_mask_bounds_the_chosen_heads_as_it_does_all() -> None:
    toy = ToyMMDiT()
    some = {"replace": "kivi", "tau": 1.0, "heads": "most-reactive", "top": 0.5}
    plain, outside, free = (
        sample(toy, *methods).latents
        for methods in (
            [Injection(**some, mask=ConstantMask(value=1.0))],  # type: ignore[arg-type]
            [Injection(**some, mask=ConstantMask(value=0.0))],  # type: ignore[arg-type]
            [Injection(**some)],  # type: ignore[arg-type]
        )
    )
    assert torch.equal(plain, sample(toy).latents) and torch.equal(outside, free) and not torch.equal(free, plain)


def test_a_ranking_is_a_list_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps({"heads": [[2, 1], [0, 3], [0, 0]]}))
    (found,) = methods_of("injection", {"heads": str(path), "top": 2})
    assert found.heads == ((2, 1), (0, 3), (0, 0)), "the record has the heads, not the file"  # type: ignore[attr-defined]
    toy = ToyMMDiT()
    first = sample(toy, Injection(tau=1.0, heads=((0, 3), (2, 1)))).latents
    assert torch.equal(sample(toy, Injection(tau=1.0, heads=str(path), top=2)).latents, first)  # type: ignore[arg-type]
    assert torch.equal(sample(toy, Injection(tau=1.0, heads=str(path), top=0.67)).latents, first)  # type: ignore[arg-type]


def test_a_control_takes_names_and_lists() -> None:
    """On a page and in a node."""
    control = next(one for one in controls_of(Injection) if one.name == "heads")
    assert (control.kind, control.choices) == ("value", ("all", "most-reactive", "least-reactive"))
    assert control.read("[[0, 1], [2, 3]]") == [[0, 1], [2, 3]] and control.read("least-reactive") == "least-reactive"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"heads": ()}, "`heads` names no head, so nothing would be replaced"),
        ({"heads": "most-reactive"}, "`heads` 'most-reactive' needs `top`"),
        ({"heads": "most-reactive", "top": 0}, "greater than or equal to 1"),
        ({"heads": "most-reactive", "top": 0.0}, "greater than 0"),
        ({"top": 3}, "`top` 3 has no effect with `heads` 'all'"),
        ({"heads": ((0, 1),), "top": 2}, "`top` must be at most 1, the listed heads, got 2"),
        ({"heads": ((0, 1),), "blocks": (0,)}, "`blocks` and `first` have no use"),
        ({"heads": ((0, 1),), "first": 1}, "`blocks` and `first` have no use"),
        ({"heads": ((0,),)}, r"a list of pairs \[block, head\]"),
        ({"heads": 3}, r"a list of pairs \[block, head\]"),
        ({"heads": "reactive"}, "none of all, most-reactive, least-reactive, nor a file with a ranking"),
    ],
)
def test_choices_that_say_too_little_or_too_much_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Injection(**values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"heads": ((3, 0),)}, r"`heads` \[3, 0\] does not exist"),
        ({"heads": ((0, 4),)}, r"`heads` \[0, 4\] does not exist"),
        ({"heads": "most-reactive", "top": 5}, "`method.top` must be at most 4, the heads of a block, got 5"),
        (
            {"heads": ((0, 1),), "mask": ConstantMask(), "everywhere": (1,)},
            r"`method.everywhere` \[1\] would have no effect",
        ),
    ],
)
def test_heads_that_the_model_lacks_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        sample(ToyMMDiT(), Injection(replace="kivi", **values))
