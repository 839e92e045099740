"""The oracles of a run, on the toy model: what must be equal is bit-equal, what must differ differs."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion

from headrouter.attention.joint_attention import JointAttention, TextStream
from headrouter.attention.rows import Row
from headrouter.errors import IncompatibleError, InvalidInputError, NonFiniteError
from headrouter.methods.head_router.method import HeadRouter, NoMethod
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.word_maps import WordMaps
from headrouter.sampling.cost import Cost
from headrouter.sampling.engine import Engine, Sampled
from headrouter.sampling.inversion import Inversion, RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

STEPS, WIDTH, HEIGHT = 6, 32, 24
NEUTRAL = HeadRouter(gamma=0.0, alpha=2.0, nu=0.0, rho=0.0)


@pytest.fixture(params=[True, False], ids=["text-first", "image-first"])
def toy(request: pytest.FixtureRequest) -> ToyMMDiT:
    return ToyMMDiT(text_first=request.param)


def inputs(toy: ToyMMDiT, inverted: bool = True) -> RunInputs:
    shape = toy.latent_shape(WIDTH, HEIGHT)
    noise = Noise([3], shape, toy.device)
    source = torch.randn(1, *shape, generator=torch.Generator().manual_seed(9)) * 0.5
    start = noise("start", 0) if inverted else None
    return RunInputs(tuple(toy.sigmas(STEPS, WIDTH, HEIGHT).tolist()), source, noise, start)


def rows(
    toy: ToyMMDiT, source: str = "a red cat", edits: tuple[str, ...] = ("a blue dog",), guidance: float = 3.0
) -> list[Row]:
    first, *others, negative = toy.encode_prompts([source, *edits, ""])
    return [Row(first, negative, guidance), *(Row(p, negative, guidance, edit=n) for n, p in enumerate(others))]


def sample(toy: ToyMMDiT, *methods: Method, inversion: Inversion | None = None, **values: Any) -> Sampled:
    keep = values.pop("keep_source", True)
    return Engine(toy).sample(inversion or Euler(), methods, rows(toy, **values), inputs(toy), keep_source=keep)


def test_our_loop_is_euler(toy: ToyMMDiT) -> None:
    """Written out once more, without engine, rows sharing a batch, or listener."""
    first, second, negative = toy.encode_prompts(["a red cat", "a blue dog", ""])
    expected = []
    for number, prompt in enumerate((first, second)):
        x = inputs(toy).inverted
        grid = inputs(toy).sigmas
        assert x is not None
        for now, following in itertools.pairwise(grid):
            cond = toy.velocity(x, now, [Row(prompt, negative, 1.0, edit=number)])
            uncond = toy.velocity(x, now, [Row(negative, negative, 1.0, edit=number)])
            x = x + (following - now) * (uncond + 3.0 * (cond - uncond))
        expected.append(x)
    assert torch.allclose(sample(toy).latents, torch.cat(expected), atol=1e-5)


@pytest.mark.parametrize("method", [NoMethod(), NEUTRAL, WordMaps()], ids=["none", "neutral", "maps"])
def test_no_steering_is_bit_equal(toy: ToyMMDiT, method: Method) -> None:
    assert torch.equal(sample(toy, method).latents, sample(toy).latents)


def test_default_steering_changes_the_edit_and_never_the_source(toy: ToyMMDiT) -> None:
    plain, steered = sample(toy).latents, sample(toy, HeadRouter()).latents
    assert torch.equal(steered[0], plain[0])
    assert float((steered[1] - plain[1]).abs().max()) > 1e-3


@pytest.mark.parametrize(
    "values",
    [
        {"gamma": 0.5, "image_tokens": "off", "rho": 0.0},
        {"gamma": 0.0, "image_tokens": "attention", "rho": 0.0},
        {"gamma": 0.0, "image_tokens": "attention", "token_form": "centred", "rho": 0.0},
        {"gamma": 0.0, "image_tokens": "features", "token_form": "centred", "rho": 0.0},
        {"gamma": 0.0, "image_tokens": "off", "rho": 0.3},
    ],
    ids=["routing", "share", "centred", "features", "text"],
)
def test_each_part_acts_alone(toy: ToyMMDiT, values: dict[str, Any]) -> None:
    plain, steered = sample(toy).latents, sample(toy, HeadRouter(**values)).latents
    assert torch.equal(steered[0], plain[0])
    assert float((steered[1] - plain[1]).abs().max()) > 1e-3


def test_equal_prompts_give_equal_heads(toy: ToyMMDiT) -> None:
    """c_h = 0 in the first routed layer of the first call: w = 1 + γ·sigmoid(−kδ), and with `anchored` nothing changes at all."""
    routing = HeadRouter(gamma=0.5, k=10, delta=0.5, image_tokens="off", rho=0.0)
    sampled = sample(toy, routing, edits=("a red cat",))
    diagnostics = sampled.diagnostics[0]
    assert diagnostics["dissimilarity"][0, 0, 0].tolist() == [0.0] * 4
    floor = 1 + 0.5 * torch.sigmoid(torch.tensor(-5.0))
    assert torch.allclose(diagnostics["head_weights"][0, 0, 0], floor.expand(4))
    anchored = sample(toy, HeadRouter(gamma=0.5, form="anchored", image_tokens="off", rho=0.0), edits=("a red cat",))
    assert (anchored.diagnostics[0]["head_weights"] == 1).all()
    assert torch.equal(anchored.latents[0], anchored.latents[1])


def test_the_router_by_hand(toy: ToyMMDiT) -> None:
    """Weights of one layer, from the outputs that a listener of our own records."""
    recorded: dict[str, torch.Tensor] = {}

    class Record(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return RecordRun()

    class RecordRun(MethodRun):
        def needs(self, step: int) -> Needs:
            return Needs(attention=frozenset({1})) if step == 0 else Needs()

        def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
            recorded["output"] = output.clone()
            recorded["branches"] = torch.tensor([item.cfg_branch == "conditional" for item in event.rows])
            return output

        def diagnostics(self) -> Mapping[str, torch.Tensor]:
            return {}

    router = HeadRouter(gamma=0.3, k=7.0, delta=0.4, image_tokens="off", rho=0.0, layers=(1,), start=0, stop=1)
    weights = sample(toy, Record(), router).diagnostics[1]["head_weights"]
    source, edit = recorded["output"][recorded["branches"]].flatten(2)
    cosine = torch.nn.functional.cosine_similarity(source, edit, dim=-1)
    d = (cosine.max() - cosine) / (cosine.max() - cosine.min())
    assert torch.allclose(weights[0, 0, 1], 1 + 0.3 * torch.sigmoid(7.0 * (d - 0.4)), atol=1e-4)
    assert torch.isnan(weights[0, 0, [0, 2]]).all() and torch.isnan(weights[0, 1:]).all()


def test_only_the_conditional_branch_of_edits_is_steered(toy: ToyMMDiT) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]] = []

    class Compare(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return CompareRun()

    class CompareRun(MethodRun):
        def needs(self, step: int) -> Needs:
            return Needs(attention=frozenset({0}), pair=True)

        def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
            names = tuple(f"{item.cfg_branch}-{'source' if item.row.is_source else 'edit'}" for item in event.rows)
            seen.append((event.attend(), output, names))
            return output

        def diagnostics(self) -> Mapping[str, torch.Tensor]:
            return {}

    sample(toy, HeadRouter(gamma=1.0, rho=0.0), Compare())
    plain, steered, names = seen[0]
    changed = [name for name, one, other in zip(names, plain, steered, strict=True) if not torch.equal(one, other)]
    assert names == ("unconditional-source", "unconditional-edit", "conditional-source", "conditional-edit")
    assert changed == ["conditional-edit"]


def test_text_mixing_is_the_recursion(toy: ToyMMDiT) -> None:
    """t_b ← (1−ρ)·t_b + ρ·t_{b−1} over dual blocks, anew in every forward, edit rows only by default."""
    entered: list[tuple[int, int, torch.Tensor]] = []

    class Watch(Method):
        before: bool = False

        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return WatchRun()

    class WatchRun(MethodRun):
        def needs(self, step: int) -> Needs:
            return Needs(text=frozenset({0, 1, 2}))

        def text(self, stream: TextStream) -> torch.Tensor:
            entered.append((stream.step_info.forward, stream.site.index, stream.hidden.clone()))
            return stream.hidden

        def diagnostics(self) -> Mapping[str, torch.Tensor]:
            return {}

    for text_rows, text_blocks, untouched in (
        ("edit", "dual", [0, 1, 2]),
        ("both", "dual", [0, 1]),
        ("edit", "all", [0, 1, 2]),
    ):
        entered.clear()
        values = {"text_rows": text_rows, "text_blocks": text_blocks}
        sample(toy, Watch(), HeadRouter(gamma=0.0, image_tokens="off", rho=0.25, **values), Watch())
        raw, mixed = entered[0::2], entered[1::2]
        for (forward, site, before), (_, _, after) in zip(raw, mixed, strict=True):
            if site == 0 or (site == 2 and text_blocks == "dual"):
                assert torch.equal(before, after), "block 0 has no block before it; single blocks are not mixed"
                continue
            previous = next(hidden for f, s, hidden in mixed if f == forward and s == site - 1)
            expected = 0.75 * before + 0.25 * previous
            expected[untouched] = before[untouched]
            assert torch.allclose(after, expected, atol=1e-6), "t_{b−1} is the mixed input of the block before"
            assert not torch.allclose(after[3], before[3], atol=1e-3)


def test_rows_are_independent(toy: ToyMMDiT) -> None:
    router = HeadRouter()
    alone = sample(toy, router, edits=("a blue dog",)).latents[1]
    beside = sample(toy, router, edits=("a green tree house", "a blue dog")).latents[2]
    assert float((alone - beside).norm() / alone.norm()) < 1e-5


def test_the_source_runs_only_while_it_is_needed(toy: ToyMMDiT) -> None:
    plain = sample(toy, keep_source=False)
    assert (plain.cost.calls, plain.cost.rows) == (STEPS, STEPS * 2)
    windowed = sample(toy, HeadRouter(start=1, stop=3), keep_source=False)
    assert windowed.cost.rows == 3 * 4 + 3 * 2, "the source is dropped after the last step that compares with it"
    refined = sample(toy, HeadRouter(gamma=0.0), keep_source=False)
    assert refined.cost.rows == STEPS * 2, "refinement compares with nothing"
    kept = sample(toy, HeadRouter(start=1, stop=3))
    assert torch.equal(kept.latents[1], windowed.latents[0]) or torch.allclose(
        kept.latents[1], windowed.latents[0], atol=1e-5
    )
    assert [row.is_source for row in windowed.rows] == [False]


@pytest.mark.parametrize(("guidance", "rows_a_call"), [(1.0, 2), (0.0, 2), (3.0, 4)])
def test_guidance_one_and_zero_need_no_twin(toy: ToyMMDiT, guidance: float, rows_a_call: int) -> None:
    assert sample(toy, guidance=guidance).cost.rows == STEPS * rows_a_call


def test_rf_scales_the_effect_by_its_controller(toy: ToyMMDiT) -> None:
    """At η = 1 the effect is nil and the model is not called; at smaller η the first step's effect is scaled by 1 − η."""
    router = HeadRouter(start=0, stop=1)
    effects = {}
    for eta in (0.0, 0.5, 1.0):
        inversion = RFInversion(eta=eta, start=0, stop=1)
        plain, steered = sample(toy, inversion=inversion), sample(toy, router, inversion=inversion)
        effects[eta] = float((plain.latents[1] - steered.latents[1]).norm())
        assert steered.cost.calls == (STEPS - 1 if eta == 1.0 else STEPS)
    assert effects[1.0] == 0 < effects[0.5] < effects[0.0]


def test_the_same_seed_gives_the_same_result_whatever_ran_before(toy: ToyMMDiT) -> None:
    first = sample(toy, HeadRouter())
    torch.manual_seed(1)
    torch.randn(100)
    sample(toy, HeadRouter(gamma=2.0), edits=("other words",))
    assert torch.equal(sample(toy, HeadRouter()).latents, first.latents)


def test_one_method_serves_many_runs(toy: ToyMMDiT) -> None:
    method = HeadRouter()
    assert torch.equal(sample(toy, method).latents, sample(toy, method).latents)


def test_the_model_is_free_again_after_an_exception(toy: ToyMMDiT) -> None:
    class Break(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return BreakRun()

    class BreakRun(MethodRun):
        def needs(self, step: int) -> Needs:
            return Needs(attention=frozenset({1}))

        def before(self, event: JointAttention) -> None:
            raise RuntimeError("on purpose")

        def diagnostics(self) -> Mapping[str, torch.Tensor]:
            return {}

    before = sample(toy).latents
    with pytest.raises(RuntimeError, match="on purpose"):
        sample(toy, Break())
    assert torch.equal(sample(toy, HeadRouter(gamma=0.0, nu=0.0, rho=0.0)).latents, before)


def test_nan_names_the_step_and_the_layer(toy: ToyMMDiT) -> None:
    class Poison(Method):
        @property
        def requires(self) -> frozenset[str]:
            return frozenset()

        def begin(self, context: RunContext) -> MethodRun:
            return PoisonRun()

    class PoisonRun(MethodRun):
        def needs(self, step: int) -> Needs:
            return Needs(attention=frozenset({1})) if step == 2 else Needs()

        def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
            return output * torch.nan

        def diagnostics(self) -> Mapping[str, torch.Tensor]:
            return {}

    with pytest.raises(NonFiniteError, match=r"step 2 of 6 \(sample\), first seen in attention layer 1 \(blocks\.1\)"):
        sample(toy, Poison())
    toy.blocks[2].image_out.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"step 0 of 6 \(sample\), after the last attention layer"):
        sample(toy)


def test_an_engine_used_again_names_the_layer_where_numbers_broke(toy: ToyMMDiT) -> None:
    engine, mine = Engine(toy), rows(toy)
    engine.sample(Euler(), [WordMaps()], mine, inputs(toy))
    toy.blocks[1].text_qkv.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"\(invert\), first seen before attention layer 1 \(blocks\.1\)"):
        engine.invert(Euler(), mine[:1], inputs(toy))


def test_routing_without_a_source_is_refused(toy: ToyMMDiT) -> None:
    only_edit = rows(toy)[1:]
    with pytest.raises(IncompatibleError, match="no source"):
        Engine(toy).sample(Euler(), [HeadRouter()], only_edit, inputs(toy), phase="generate")


def test_impossible_parameters_are_refused_before_the_model_runs(toy: ToyMMDiT) -> None:
    with pytest.raises(InvalidInputError, match=r"layers` \[3\] do not exist: the model has joint layers 0 to 2"):
        sample(toy, HeadRouter(layers=(0, 3)))
    with pytest.raises(InvalidInputError, match="features have signs"):
        sample(toy, HeadRouter(image_tokens="features"))


def test_two_pictures_share_a_batch(toy: ToyMMDiT) -> None:
    shape = toy.latent_shape(WIDTH, HEIGHT)
    one = inputs(toy)
    noise = Noise([3, 4], shape, toy.device)
    both = replace(one, source=torch.cat([one.source, -one.source]), noise=noise, inverted=noise("start", 0))
    mine = rows(toy)
    together = [*mine, *(replace(row, image=1) for row in rows(toy, "a tall tree", ("a small tree",)))]
    inversion = RFInversion(eta=0.5)
    pair = Engine(toy).sample(inversion, [HeadRouter()], together, both, keep_source=True)
    alone = Engine(toy).sample(inversion, [HeadRouter()], mine, one, keep_source=True)
    assert float((pair.latents[:2] - alone.latents).norm() / alone.latents.norm()) < 1e-5
    assert pair.diagnostics[0]["head_weights"].shape[0] == 2


def test_progress_counts_every_step(toy: ToyMMDiT) -> None:
    told: list[tuple[str, int, int]] = []
    engine = Engine(toy, lambda *state: told.append(state))
    engine.invert(Euler(), rows(toy)[:1], inputs(toy))
    engine.sample(Euler(), [], rows(toy)[1:], inputs(toy))
    assert told == [("invert", n, STEPS) for n in range(1, STEPS + 1)] + [
        ("sample", n, STEPS) for n in range(1, STEPS + 1)
    ]


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3.0, 40) + Cost(10, 20, 30.0, 4) == Cost(11, 22, 33.0, 40)
