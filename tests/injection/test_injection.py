"""Injection: it replaces what it says, from the row it says, in the steps and blocks it says, and nothing else."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from headrouter_diffusers.testing import tiny_sd35
from headrouter_injection.method import Injection
from headrouter_inversions.euler import Euler
from headrouter_inversions.sdedit import SDEdit
from headrouter_sd3.parameters import SD35Parameters
from PIL import Image
from pydantic import ValidationError

from headrouter import Editor
from headrouter.attention.joint_attention import JointAttention, TokenLayout
from headrouter.editing.assembly import methods_of
from headrouter.editing.tuning import with_preset
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.sampling.engine import Engine
from headrouter.testing import MethodConformance, MethodSubject
from headrouter.testing.toy import ToyMMDiT

from .runs import INVERSIONS, STEPS, event, inputs, layout, rows, sample

PICTURE = Image.new("RGB", (32, 24), "teal")
MEANING = {
    "qi": {("query", "image")},
    "ki": {("key", "image")},
    "qiki": {("query", "image"), ("key", "image")},
    "qk": {("query", "image"), ("query", "text"), ("key", "image"), ("key", "text")},
    "qikt": {("query", "image"), ("key", "text")},
    "qtki": {("query", "text"), ("key", "image")},
    "qtkt": {("query", "text"), ("key", "text")},
    "kivi": {("key", "image"), ("value", "image")},
}


class TestConformance(MethodConformance):
    @pytest.fixture(
        params=[
            MethodSubject("injection", Injection(), Injection(tau=0)),
            MethodSubject("injection-regions", Injection(replace=("I2I", "T2T"), tau=1.0), Injection(tau=0.0)),
            MethodSubject("injection-values", Injection(replace="kivi", tau=1.0, blocks=(1, 2))),
        ],
        ids=lambda subject: subject.name,
    )
    def method(self, request: pytest.FixtureRequest) -> Any:
        return request.param


@pytest.fixture(params=[True, False], ids=["text-first", "image-first"])
def toy(request: pytest.FixtureRequest) -> ToyMMDiT:
    return ToyMMDiT(text_first=request.param)


def steered(joint: JointAttention, *replace: Any, **values: Any) -> JointAttention:
    toy = ToyMMDiT()
    for one in replace:
        method = Injection(replace=one, tau=1.0, **values)
        (run,) = Engine(toy).begin(Euler(), [method], rows(toy, "a cat", "a dog"), inputs(toy))
        run.before(joint)
    return joint


@pytest.mark.parametrize("order", ["ti", "it", "rti"])
@pytest.mark.parametrize("name", list(MEANING))
def test_a_projection_replaces_what_its_letters_say(name: str, order: str) -> None:
    """Rows: the source and two edits, unconditional branches 0 to 2, conditional ones 3 to 5."""
    joint, plain = steered(event(layout(order)), name), event(layout(order))
    for tensor, part in itertools.product(("query", "key", "value"), ("text", "image", "registers")):
        where = getattr(joint.layout, part)
        now, before = (getattr(one, tensor)[:, :, where] for one in (joint, plain))
        replaced = (tensor, part) in MEANING[name] or (name == "qk" and part == "registers" and tensor != "value")
        sources = [0, 0, 0, 3, 3, 3] if replaced else range(6)
        assert torch.equal(now, before[list(sources)]), (tensor, part)


def test_projections_compose() -> None:
    for whole, parts in {"qiki": ("qi", "ki"), "qk": ("qiki", "qtkt"), "qk ": ("qikt", "qtki")}.items():
        one, other = steered(event(layout("ti")), whole.strip()), steered(event(layout("ti")), *parts)
        together = steered(event(layout("ti")), parts)
        for name in ("query", "key", "value"):
            assert torch.equal(getattr(one, name), getattr(other, name))
            assert torch.equal(getattr(one, name), getattr(together, name))


def test_all_regions_are_the_sources_attention_on_the_edits_values() -> None:
    joint = steered(event(layout("it")), ("I2I", "T2I", "I2T", "T2T"))
    matrix = (joint.query[3] @ joint.key[3].transpose(-1, -2) * joint.scale).softmax(-1)
    torch.testing.assert_close(joint.attend()[4], matrix @ joint.value[4], atol=1e-5, rtol=1e-5)
    by_projections = steered(event(layout("it")), "qk").attend()
    torch.testing.assert_close(joint.attend(), by_projections, atol=1e-5, rtol=1e-5)
    values = steered(event(layout("it")), "qk")
    values.value = values.value[[0, 0, 0, 3, 3, 3]]
    assert torch.equal(values.attend()[4], event(layout("it")).attend()[3])


def test_the_release_replaces_in_the_conditional_branch_only() -> None:
    (released,) = with_preset("release", Euler(), [Injection(tau=1.0)], 28)[1]
    assert released == Injection(tau=1.0, branches="conditional")
    joint, plain = event(layout("ti")), event(layout("ti"))
    steered(joint, "qi", branches="conditional")
    image = joint.layout.image
    assert torch.equal(joint.query[:, :, image], plain.query[[0, 1, 2, 3, 3, 3]][:, :, image])


def test_a_number_of_steps_is_the_releases_truncated_share() -> None:
    """Of 28 steps the release replaces in int(.2·28) = 5; a fraction is rounded to 6."""
    toy = ToyMMDiT()
    for tau, steps in ((0.2, 6), (int(0.2 * 28), 5)):
        asked = dataclasses.replace(inputs(toy), sigmas=tuple(torch.linspace(1, 0, 29).tolist()))
        (run,) = Engine(toy).begin(Euler(), [Injection(tau=tau)], rows(toy, "a cat", "a dog"), asked)
        assert [bool(run.needs(step)) for step in range(28)] == [step < steps for step in range(28)]


def test_every_picture_and_half_has_its_own_source() -> None:
    toy = ToyMMDiT()
    first, second = rows(toy, "a cat", "a dog"), rows(toy, "red", "blue")
    both = [*first, *(type(row)(row.prompt, row.negative, 1.0, row.edit, 1) for row in second)]
    joint, plain = event(layout("ti"), both), event(layout("ti"), both)
    branches = [(item.row.image, item.cfg_branch, item.row.edit) for item in joint.rows]
    assert branches == [
        (0, "unconditional", None),
        (0, "unconditional", 0),
        (0, "conditional", None),
        (0, "conditional", 0),
        (1, "conditional", None),
        (1, "conditional", 0),
    ]
    assert torch.equal(
        steered(joint, "qi").query[:, :, joint.layout.image], plain.query[[0, 0, 2, 2, 4, 4]][:, :, joint.layout.image]
    )


def test_nothing_at_tau_zero(toy: ToyMMDiT) -> None:
    assert torch.equal(sample(toy, Injection(tau=0)).latents, sample(toy).latents)
    assert torch.equal(sample(toy, Injection(tau=0.0, replace="I2I")).latents, sample(toy).latents)


@pytest.mark.parametrize("name", [*MEANING, "I2I", "T2I", "I2T", "T2T"])
def test_equal_prompts_stay_equal_and_others_are_steered(name: str, toy: ToyMMDiT) -> None:
    method = Injection(replace=name, tau=1.0)
    same = sample(toy, method, prompts=("a red cat", "a red cat")).latents
    torch.testing.assert_close(same[0], same[1], atol=1e-5, rtol=1e-5)
    assert (name not in MEANING) or torch.equal(same[0], same[1])
    plain, other = sample(toy).latents, sample(toy, method).latents
    assert torch.equal(plain[0], other[0]), "the source's row never changes"
    assert (plain[1] - other[1]).abs().max() > 1e-4


def test_everything_of_the_image_makes_the_edit_the_source_where_text_is_ignored() -> None:
    """Under guidance 0 both rows see the negative prompt alone, so nothing is left to differ."""
    result = sample(ToyMMDiT(), Injection(replace=("qk", "kivi"), tau=1.0), guidance=0.0).latents
    assert torch.equal(result[0], result[1])


@pytest.mark.parametrize(
    ("tau", "expected"), [(0, 0), (0.0, 0), (0.01, 1), (0.2, 2), (0.5, 4), (1, 1), (1.0, 8), (3, 3), (20, 8)]
)
def test_the_window(tau: int | float, expected: int) -> None:
    toy = ToyMMDiT()
    where = type(inputs(toy))(tuple(toy.sigmas(8, 32, 24).tolist()), inputs(toy).source, inputs(toy).noise)
    (run,) = Engine(toy).begin(Euler(), [Injection(tau=tau)], rows(toy, "a cat", "a dog"), where)
    assert [step for step in range(8) if run.needs(step)] == list(range(expected))
    if expected:
        assert run.needs(0) == Needs(attention=frozenset({0, 1, 2}), pair=True)


def test_the_window_begins_with_the_first_step_that_is_run() -> None:
    toy, inversion = ToyMMDiT(), SDEdit(strength=0.5)
    (run,) = Engine(toy).begin(inversion, [Injection(tau=0.6)], rows(toy, "a cat", "a dog"), inputs(toy))
    assert [step for step in range(STEPS) if run.needs(step)] == [3, 4]


@pytest.mark.parametrize("name", list(INVERSIONS))
def test_every_inversion(name: str, toy: ToyMMDiT) -> None:
    inversion = INVERSIONS[name]
    plain, steered = (sample(toy, *methods, inversion=inversion).latents for methods in ((), (Injection(tau=1.0),)))
    assert torch.equal(plain[0], steered[0]) and (plain[1] - steered[1]).abs().max() > 1e-4


def test_blocks() -> None:
    toy = ToyMMDiT()
    every, none = sample(toy, Injection(first=3)).latents, sample(toy).latents
    assert torch.equal(every, sample(toy, Injection()).latents)
    one, two = sample(toy, Injection(first=2)).latents, sample(toy, Injection(blocks=(1, 0))).latents
    assert torch.equal(one, two) and not torch.equal(one, every)
    assert not torch.equal(sample(toy, Injection(blocks=(0,), tau=1.0)).latents[1], none[1])
    first_step = sample(
        toy, Injection(blocks=(0,), tau=1)
    ).latents  # there the image tokens of both rows are the same still
    assert torch.equal(first_step, none)


def test_it_composes_with_head_routing(toy: ToyMMDiT) -> None:
    methods: list[Any] = [Injection(replace=("T2I", "I2I"), tau=1.0), HeadRouter(gamma=0.5)]
    one, other = sample(toy, *methods).latents, sample(toy, *methods[::-1]).latents
    assert torch.equal(one, other), "regions are taken before attention, so the order does not matter"
    assert not torch.equal(one, sample(toy, methods[0]).latents) and not torch.equal(
        one, sample(toy, methods[1]).latents
    )


def test_presets_choose_the_first_blocks() -> None:
    for name, first in (("injection-schnell", 38), ("injection-turbo", 30)):
        _, (method,), _ = with_preset(name, Euler(), methods_of("injection"), 4)
        assert isinstance(method, Injection) and method.first == first


class Deaf(ToyMMDiT):
    """Its model must not run."""

    def velocity(self, *arguments: Any, **others: Any) -> Any:
        raise AssertionError("the model ran")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": (1, 3)}, r"`method.blocks` \[3\] do not exist: the model has joint blocks 0 to 2."),
        ({"blocks": (-1,)}, r"\[-1\] do not exist"),
        ({"first": 4}, "`method.first` must be at most 3, the model's joint blocks, got 4."),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_runs(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Editor(Deaf(), "euler", Injection(**values), progress=False).edit(PICTURE, "a dog", "a cat")


def test_other_refusals() -> None:
    with pytest.raises(IncompatibleError, match="this run has no source"):
        Editor(Deaf(), "euler", None, progress=False).generate("a dog", method=Injection())
    with pytest.raises(ValidationError, match="both choose blocks"):
        Injection(blocks=(0,), first=1)
    with pytest.raises(InvalidInputError, match=r"^`replace`: .*Did you mean 'qikt'"):
        methods_of("injection", {"replace": "qik"})
    for values in ({"replace": ()}, {"tau": -1}, {"tau": 1.5}, {"first": 0}):
        with pytest.raises(ValidationError):
            Injection(**values)


class Watch(Method):
    """Notes, at attention among image tokens alone, which of query, key, value the edit shares with its source in both branches."""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"image-attention"})

    def begin(self, context: RunContext) -> MethodRun:
        return WatchRun(context)


class WatchRun(MethodRun):
    def __init__(self, context: RunContext):
        self.sites = frozenset(site.index for site in context.image_sites)
        self.shared: dict[tuple[int, int], set[str]] = {}

    def needs(self, step: int) -> Needs:
        return Needs(image_attention=self.sites, pair=True)

    def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
        for place, item in enumerate(event.rows):
            if item.pair is not None:
                same = {
                    name
                    for name in ("query", "key", "value")
                    if torch.equal(getattr(event, name)[place], getattr(event, name)[item.pair])
                }
                self.shared.setdefault((event.step_info.step, event.site.index), same).intersection_update(same)
        return output

    def diagnostics(self) -> dict[str, torch.Tensor]:
        names = ("query", "key", "value")
        return {f"{s} {b}": torch.tensor([[n in found for n in names]]) for (s, b), found in self.shared.items()}


@pytest.mark.parametrize(
    ("values", "step", "block", "shared"),
    [
        ({}, 1, 1, (0, 0, 0)),
        ({"image_attention": True}, 1, 1, (1, 1, 0)),
        ({"image_attention": True}, 3, 1, (0, 0, 0)),
        ({"image_attention": True, "replace": "kivi"}, 1, 1, (0, 1, 1)),
        ({"image_attention": True, "replace": "qtkt"}, 1, 1, (0, 0, 0)),
        ({"image_attention": True, "replace": "qk"}, 1, 1, (1, 1, 0)),
        ({"image_attention": True, "first": 1}, 1, 1, (0, 0, 0)),
        ({"image_attention": True, "blocks": (1,)}, 1, 1, (1, 1, 0)),
    ],
)
def test_attention_of_image_tokens_alone(
    values: dict[str, Any], step: int, block: int, shared: tuple[int, ...]
) -> None:
    """Off by default; image tokens only; in the steps and blocks of the rest."""
    backbone = SD35Parameters().load("tiny", tiny_sd35())
    methods = [Injection(**{"tau": 2, **values}), Watch()]
    editor = Editor(backbone, SDEdit(strength=1.0), methods, progress=False)
    result = editor.edit(PICTURE, "a dog", "a cat", steps=5, size=(32, 32), maps=False)
    (found,) = result.recorded(f"{step} {block}")
    assert tuple(found.int().tolist()) == shared


def test_a_region_of_image_tokens_alone_is_their_projections() -> None:
    """Without text I2I is all of attention's weights; regions of text are empty and change nothing."""
    where = TokenLayout(slice(0, 0), slice(0, 15), (3, 5), ())
    results = {}
    for replace in ("I2I", "qiki", "T2T"):
        joint = event(where)
        (run,) = Engine(ToyMMDiT()).begin(
            Euler(), [Injection(replace=replace, tau=1.0)], [item.row for item in joint.rows[:3]], inputs(ToyMMDiT())
        )
        run.before(joint)
        results[replace] = joint.attend()
    torch.testing.assert_close(results["I2I"], results["qiki"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(results["T2T"], event(where).attend(), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(results["I2I"], results["T2T"], atol=1e-3)


def test_models_without_it_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="image-attention"):
        Editor(Deaf(), "euler", Injection(image_attention=True), progress=False).edit(PICTURE, "a dog", "a cat")
