"""The second-order, stochastic and inversion-free ones against exact solutions, in float64, and on the toy model."""

import hashlib
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.fireflow import FireFlow
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from headrouter_inversions.rf_solver import RFSolver
from headrouter_inversions.sdedit import SDEdit
from PIL import Image
from pydantic import ValidationError

from headrouter.editing.assembly import inversion_of
from headrouter.editing.editor import Editor
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.sampling.inversion import Inversion, State
from headrouter.testing.known_velocity import Solved
from headrouter.testing.toy import ToyMMDiT

GENERATOR = torch.Generator().manual_seed(0)
SOURCE = torch.randn(2, 3, 4, 5, generator=GENERATOR, dtype=torch.float64)
NOISE = torch.randn(2, 3, 4, 5, generator=GENERATOR, dtype=torch.float64)
PICTURE = Image.fromarray((np.random.default_rng(0).random((28, 44, 3)) * 255).astype(np.uint8))


def grid(steps: int) -> list[float]:
    """A shifted grid, so that steps differ in length."""
    return [2 * (1 - i / steps) / (2 - i / steps) for i in range(steps + 1)]


def decay(latents: torch.Tensor, sigma: float) -> torch.Tensor:
    """dx/dσ = cos(3σ)·x; x(1) = x(0)·exp(sin(3)/3)."""
    return math.cos(3 * sigma) * latents


def wave(latents: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.sin(2 * latents + sigma)


def fresh(shape: tuple[int, ...]) -> Callable[[str, int], torch.Tensor]:
    """Independent noise for each name and step."""

    def draw(name: str, step: int) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(f"{name}/{step}".encode()).digest()[:6], "big")
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return draw


def order(error: dict[int, float]) -> float:
    (coarse, first), (fine, second) = sorted(error.items())
    return math.log(first / second) / math.log(fine / coarse)


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image)


@pytest.mark.parametrize(
    ("inversion", "one_way", "round_trip"), [(Euler(), 1, 1), (RFSolver(), 2, 3), (FireFlow(), 2, 3)]
)
def test_orders(inversion: Inversion, one_way: int, round_trip: int) -> None:
    up, down, back, nonlinear = {}, {}, {}, {}
    for steps in (128, 256):
        solved = Solved(decay, grid(steps), SOURCE)
        exact = SOURCE * math.exp(math.sin(3) / 3)
        noise = solved.invert(inversion)
        up[steps] = float((noise - exact).abs().max())
        down[steps] = float((solved.sample(inversion, exact) - SOURCE).abs().max())
        back[steps] = float((solved.sample(inversion, noise) - SOURCE).abs().max())
        solved = Solved(wave, grid(steps), SOURCE)
        nonlinear[steps] = float((solved.sample(inversion, solved.invert(inversion)) - SOURCE).abs().max())
    assert order(up) == pytest.approx(one_way, abs=0.06)
    assert order(down) == pytest.approx(one_way, abs=0.06)
    assert order(back) == pytest.approx(round_trip, abs=0.06)
    assert order(nonlinear) == pytest.approx(round_trip, abs=0.06)


@pytest.mark.parametrize(
    "inversion",
    [
        Euler(),
        Euler(told="current"),
        Euler(fixed_point=2),
        RFSolver(),
        FireFlow(),
        RFInversion(gamma=0.0, eta=0.0),
    ],
)
def test_a_constant_field_is_exact_both_ways(inversion: Inversion) -> None:
    solved = Solved(lambda latents, sigma: torch.full_like(latents, 0.7), grid(9), SOURCE)
    noise = solved.invert(inversion)
    assert torch.allclose(noise, SOURCE + 0.7, atol=1e-12)
    assert torch.allclose(solved.sample(inversion, noise), SOURCE, atol=1e-12)


def test_a_constant_field_is_exact_without_inversion() -> None:
    """From x_0 and ε the constant field ε − x_0 leads to x_0; and constant velocities differ by a constant edit."""
    towards = Solved(lambda x, sigma: NOISE - SOURCE, grid(9), SOURCE, NOISE)
    assert torch.allclose(towards.sample(SDEdit(strength=0.6)), SOURCE, atol=1e-12)
    sources = torch.tensor([True, True, False, False])[:, None, None, None]
    apart = Solved(lambda x, sigma: torch.where(sources, 0.2, 0.9).expand_as(x), grid(9), SOURCE, NOISE, edits=1)
    result = apart.sample(FlowEdit(last_steps=1.0))
    assert torch.equal(result[:2], SOURCE), "the source's row stays the picture"
    assert torch.allclose(result[2:], SOURCE - 0.7, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 6])
def test_rf_solver_is_the_midpoint_rule(steps: int) -> None:
    sigmas = grid(steps)
    solved = Solved(wave, sigmas, SOURCE)
    x, told = NOISE, []
    for now, then in itertools.pairwise(sigmas):
        told += [now, (now + then) / 2]
        half = x + (then - now) / 2 * wave(x, now)
        x = x + (then - now) * wave(half, (now + then) / 2)
    assert torch.allclose(solved.sample(RFSolver(), NOISE), x, atol=1e-14)
    assert solved.noise_levels == told
    solved = Solved(wave, sigmas, SOURCE)
    x, told = SOURCE, []
    for now, then in itertools.pairwise(sigmas[::-1]):
        middle = (now + then) / 2
        told += [middle if now == 0 else now, middle]
        half = x + (then - now) / 2 * wave(x, told[-2])
        x = x + (then - now) * wave(half, middle)
    assert torch.allclose(solved.invert(RFSolver()), x, atol=1e-14)
    assert solved.noise_levels == told and min(told) > 0, "no model is told σ = 0"


def test_rf_solver_is_the_published_taylor_step() -> None:
    now, then = grid(1)
    h = then - now
    here = wave(NOISE, now)
    derivative = (wave(NOISE + h / 2 * here, now + h / 2) - here) / (h / 2)
    expected = NOISE + h * here + h**2 / 2 * derivative
    assert torch.allclose(Solved(wave, [now, then], SOURCE).sample(RFSolver(), NOISE), expected, atol=1e-14)


def test_fireflow_by_hand() -> None:
    sigmas = grid(5)
    solved = Solved(wave, sigmas, SOURCE)
    x, velocity = NOISE, wave(NOISE, 1.0)
    for now, then in itertools.pairwise(sigmas):
        velocity = wave(x + (then - now) / 2 * velocity, (now + then) / 2)
        x = x + (then - now) * velocity
    assert torch.allclose(solved.sample(FireFlow(), NOISE), x, atol=1e-14)
    assert solved.calls == 6
    solved.invert(FireFlow())
    assert solved.calls == 12, "the other direction evaluates its own first velocity"
    assert min(solved.noise_levels) > 0


def test_fireflow_forgets_when_latents_are_changed() -> None:
    solved = Solved(wave, grid(5), SOURCE)
    calls = []

    def velocity(
        latents: torch.Tensor, sigma: float, rows: Any, stage: int = 0, *, alike: bool = False
    ) -> torch.Tensor:
        calls.append(stage)
        return wave(latents, sigma)

    state = FireFlow().sample_step(0, State(NOISE), solved.rows, velocity, solved.inputs)
    FireFlow().sample_step(1, state, solved.rows, velocity, solved.inputs)
    FireFlow().sample_step(1, state.with_latents(SOURCE), solved.rows, velocity, solved.inputs)
    assert calls == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("steps", [4, 28])
def test_rf_sde_keeps_the_variance_where_the_picture_is_known(steps: int) -> None:
    """All of the data is one point m, so v = (x − m)/σ, and x_σ has mean (1 − σ)·m and variance σ² in every step."""
    sigmas, shape, point = grid(steps), (1, 1, 300, 400), 0.3
    draw = fresh(shape)
    final = {}
    for form in ("exact", "compat"):
        solved = Solved(lambda x, sigma: (x - point) / sigma, sigmas, torch.zeros(shape), draw)
        state, inversion = State(draw("start", 0)), RFInversionSDE(eta=0.0, form=form)
        for step in range(steps):
            state = inversion.sample_step(step, state, solved.rows, solved._velocity, solved.inputs)
            if form == "exact":
                sigma = sigmas[step + 1]
                assert float(state.latents.mean()) == pytest.approx((1 - sigma) * point, abs=0.012)
                assert float(state.latents.std()) == pytest.approx(sigma, rel=0.012)
        final[form] = float(state.latents.std())
    assert final["exact"] < 1e-12 < 0.1 < final["compat"], "only the published form ends in noise"


def test_rf_sde_converges_on_gaussian_data() -> None:
    """Data N(m, τ²): the posterior mean stands for the picture, so the final variance approaches τ² with order 1."""
    mean, tau, shape = 0.3, 0.5, (1, 1, 500, 600)

    def field(latents: torch.Tensor, sigma: float) -> torch.Tensor:
        variance = (1 - sigma) ** 2 * tau**2 + sigma**2
        return -mean + (sigma - (1 - sigma) * tau**2) / variance * (latents - (1 - sigma) * mean)

    draw, errors = fresh(shape), {}
    for steps in (28, 112):
        solved = Solved(field, grid(steps), torch.zeros(shape), draw)
        result = solved.sample(RFInversionSDE(eta=0.0), draw("start", 0))
        assert float(result.mean()) == pytest.approx(mean, abs=0.004)
        errors[steps] = abs(float(result.var()) - tau**2)
    assert order(errors) == pytest.approx(0.85, abs=0.15)


def test_rf_sde_begins_with_the_ordinary_step_and_then_departs() -> None:
    draw = fresh(tuple(SOURCE.shape))
    for form in ("exact", "compat"):
        one, other = (Solved(decay, grid(6), SOURCE, draw) for _ in range(2))
        stochastic, ordinary = RFInversionSDE(form=form, stop=0.5), RFInversion(stop=0.5)
        assert torch.equal(one.invert(stochastic), other.invert(ordinary)), "they invert alike"
        ours, theirs = (
            inversion.sample_step(0, State(NOISE), solved.rows, solved._velocity, solved.inputs)
            for inversion, solved in ((stochastic, one), (ordinary, other))
        )
        assert torch.equal(ours.latents, theirs.latents)
        ours = stochastic.sample_step(1, ours, one.rows, one._velocity, one.inputs)
        theirs = ordinary.sample_step(1, theirs, other.rows, other._velocity, other.inputs)
        assert float((ours.latents - theirs.latents).abs().mean()) > 0.05


@pytest.mark.parametrize("steps", [1, 5, 28])
def test_rf_sde_with_eta_one_everywhere_returns_the_picture(steps: int) -> None:
    solved = Solved(decay, grid(steps), SOURCE, fresh(tuple(SOURCE.shape)))
    result = solved.sample(RFInversionSDE(eta=1.0, stop=1.0), NOISE)
    assert float((result - SOURCE).norm() / SOURCE.norm()) < 1e-6
    assert solved.calls == 0


@pytest.mark.parametrize("draws", [1, 3])
def test_flowedit_with_equal_velocities_is_the_picture_exactly(draws: int) -> None:
    solved = Solved(wave, grid(7), SOURCE, fresh(tuple(SOURCE.shape)), edits=2)
    result = solved.sample(FlowEdit(averages=draws, last_steps=6))
    assert torch.equal(result, SOURCE.repeat(3, 1, 1, 1))


def test_flowedit_by_hand() -> None:
    """Two pictures with an edit each; the source's velocity is halved; three steps of differences, two plain ones."""
    sigmas, draw = grid(7), fresh(tuple(SOURCE.shape))

    def field(latents: torch.Tensor, sigma: float) -> torch.Tensor:
        if len(latents) == 2:
            return wave(latents, sigma)
        return torch.cat([0.5 * wave(latents[:2], sigma), wave(latents[2:], sigma)])

    z = SOURCE
    for step in (2, 3, 4):
        sigma, mean = sigmas[step], torch.zeros_like(SOURCE)
        for number in range(2):
            noised = (1 - sigma) * SOURCE + sigma * draw(f"flowedit-{number}", step)
            mean = mean + (wave(noised + z - SOURCE, sigma) - 0.5 * wave(noised, sigma)) / 2
        z = z + (sigmas[step + 1] - sigma) * mean
    x = z + sigmas[5] * (draw("flowedit-0", 5) - SOURCE)
    for step in (5, 6):
        x = x + (sigmas[step + 1] - sigmas[step]) * wave(x, sigmas[step])
    solved = Solved(field, sigmas, SOURCE, draw, edits=1)
    result = solved.sample(FlowEdit(last_steps=5, plain_steps=2, averages=2))
    assert torch.allclose(result, x, atol=1e-13), "the sources were dropped when the differences ended"
    assert solved.calls == (5 - 2) * 2 + 2
    assert solved.evaluated == 2 * (2 * (5 - 2) * 2 + 2), "rows, of two pictures"


def test_flowedit_that_only_samples_is_sdedit() -> None:
    """n_min = n_max = k, with the same noise."""
    plain = Solved(wave, grid(8), SOURCE, NOISE).sample(FlowEdit(last_steps=6, plain_steps=6))
    assert torch.allclose(plain, Solved(wave, grid(8), SOURCE, NOISE).sample(SDEdit(strength=0.75)), atol=1e-14)


def test_flowedit_keeps_the_source_beside_the_edit_in_the_plain_steps() -> None:
    """Where a method keeps the source's row, it is noised and sampled as the edit is: equal rows stay equal."""
    solved = Solved(wave, grid(8), SOURCE, NOISE, edits=1)
    inversion, state = FlowEdit(last_steps=6, plain_steps=2), State(SOURCE.repeat(2, 1, 1, 1))
    for step in range(2, 8):
        state = inversion.sample_step(step, state, solved.rows, solved._velocity, solved.inputs)
        assert torch.equal(state.latents[:2], state.latents[2:])
        assert torch.equal(state.latents[:2], SOURCE) == (step < 6)


@pytest.mark.parametrize(
    ("strength", "steps", "left"),
    [(0.7, 28, 20), (0.6, 10, 6), (1.0, 10, 10), (0.01, 10, 1), (0.01, 1, 1), (0.75, 8, 6), (1e-18, 10, 0)],
)
def test_sdedit_runs_its_share_of_the_steps(strength: float, steps: int, left: int) -> None:
    """k = N − ⌊N − N·s⌋; the share that a float cannot tell from 0 leaves no step, and the picture itself."""
    solved = Solved(wave, grid(steps), SOURCE, NOISE)
    result = solved.sample(SDEdit(strength=strength))
    assert solved.calls == left
    assert solved.noise_levels == grid(steps)[steps - left : steps]
    if left == 0:
        assert torch.equal(result, SOURCE)


def test_sdedit_starts_on_the_grid() -> None:
    solved = Solved(wave, grid(10), SOURCE, NOISE)
    start = SDEdit(strength=0.4).initial_state(solved.rows, solved.inputs).latents
    sigma = grid(10)[6]
    assert torch.allclose(start, (1 - sigma) * SOURCE + sigma * NOISE, atol=1e-15)


N = 12


@pytest.mark.parametrize(
    ("inversion", "inverting", "sampling"),
    [
        (Euler(), N, N),
        (Euler(fixed_point=2), 3 * N, N),
        (RFInversion(), N, N),
        (RFInversionSDE(), N, N),
        (RFInversionSDE(form="compat"), N, N),
        (RFSolver(), 2 * N, 2 * N),
        (FireFlow(), N + 1, N + 1),
        (FlowEdit(last_steps=8, plain_steps=0.25, averages=2), 0, (8 - 3) * 2 + 3),
        (SDEdit(strength=0.6), 0, 8),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Inversion) else str(value),
)
def test_calls_are_those_of_the_table(inversion: Inversion, inverting: int, sampling: int) -> None:
    solved = Solved(decay, grid(N), SOURCE, NOISE, edits=1)
    if inversion.inverts:
        solved.invert(inversion)
        assert solved.calls == inverting
    solved.sample(inversion, NOISE)
    assert solved.calls == inverting + sampling
    tool = Editor(ToyMMDiT(), inversion, None, progress=False)
    assert tool.edit(PICTURE, "a blue dog", "a red cat", steps=N).cost.calls == inverting + sampling


def test_flowedit_counts_rows_with_their_guidance() -> None:
    """Guidance doubles rows of both; at guidance 1 a row is a row."""
    for guidance, branches in ((1.0, 1), (3.0, 2)):
        inversion = FlowEdit(last_steps=6, plain_steps=2, source_guidance=guidance)
        cost = (
            Editor(ToyMMDiT(), inversion, None, progress=False)
            .edit(PICTURE, "a blue dog", "a red cat", steps=8, guidance=guidance)
            .cost
        )
        assert (cost.calls, cost.rows) == (6, branches * (2 * 4 + 2))


NAMES = ["rf-sde", "rf-solver", "fireflow", "flowedit", "sdedit"]


@pytest.mark.parametrize("name", NAMES)
def test_head_routing_runs_on_each(name: str) -> None:
    """It changes the edit, never the reconstruction; equal prompts are routed evenly in the first layer of the first step."""
    plain = Editor(ToyMMDiT(), name, None, progress=False).edit(PICTURE, "a blue dog", "a red cat", steps=6)
    tool = Editor(ToyMMDiT(), name, HeadRouter(gamma=1.0), progress=False)
    steered = tool.edit(PICTURE, ["a blue dog", "two dogs"], "a red cat", steps=6)
    assert not np.array_equal(pixels(plain.image), pixels(steered.image))
    assert np.array_equal(pixels(plain.reconstruction), pixels(steered.reconstruction))
    first = tool.inversion.sampling_steps(6).start
    acted = ~torch.isnan(steered.head_weights[0, :, 0, 0])
    assert acted.tolist() == [step >= first for step in range(6)]
    assert float(steered.text_map("dog", prompt=0).min()) > 0


def test_a_pair_of_flowedit_is_source_and_target() -> None:
    """Equal prompts at equal guidance are equal rows: no head differs, in any step, and the picture comes back."""
    inversion = FlowEdit(source_guidance=3.0)
    routing = HeadRouter(gamma=1.0, form="anchored", image_tokens="off", rho=0.0)
    for method in (None, "none", routing):
        result = Editor(ToyMMDiT(), inversion, method, progress=False).edit(
            PICTURE, "a red cat", "a red cat", steps=6, guidance=3.0, size=PICTURE.size
        )
        assert np.array_equal(pixels(result.image), pixels(PICTURE))
    weights = result.head_weights
    assert (weights[~torch.isnan(weights)] == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides(name: str) -> None:
    def edit(seed: int) -> np.ndarray[Any, Any]:
        tool = Editor(ToyMMDiT(), name, None, progress=False)
        return pixels(tool.edit(PICTURE, "a blue dog", "a red cat", steps=4, seed=seed).image)

    first = edit(1)
    torch.randn(7)
    assert np.array_equal(edit(1), first)
    assert np.array_equal(edit(2), first) == (name in ("rf-solver", "fireflow")), "these two draw no noise"


def test_presets_of_flowedit_carry_their_guidance_which_the_user_overrules() -> None:
    def record(**values: Any) -> tuple[Any, ...]:
        tool = Editor(ToyMMDiT(), "flowedit", None, progress=False)
        made = tool.edit(PICTURE, "a blue dog", preset="flowedit-sd3", steps=25, **values).record
        inversion = made.inversion.parameters
        return made.edit.guidance, inversion["source_guidance"], inversion["last_steps"]

    assert record() == (13.5, 3.5, 16)
    assert record(guidance=2.0) == (2.0, 3.5, 16)


def test_fireflow_brings_its_steps_which_the_user_overrules() -> None:
    tool = Editor(ToyMMDiT(), "fireflow", None, progress=False)
    assert tool.edit(PICTURE, "a dog").cost.calls == 2 * 9
    assert tool.edit(PICTURE, "a dog", steps=3).cost.calls == 2 * 4


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("flowedit", {"last_steps": 5, "plain_steps": 6}, "there cannot be more of them; got 6 of 5"),
        ("flowedit", {"last_steps": 0.2, "plain_steps": 0.5}, "there cannot be more of them"),
        ("flowedit", {"last_steps": 0}, "`last_steps` must leave a step to run"),
        ("flowedit", {"averages": 0}, "`averages`: Input should be greater than or equal to 1"),
        ("flowedit", {"source_guidance": -1}, "`source_guidance`"),
        ("sdedit", {"strength": 0}, r"`strength`: Input should be greater than 0 \(got 0\)"),
        ("sdedit", {"strength": 1.1}, "`strength`: Input should be less than or equal to 1"),
        ("rf-sde", {"form": "exakt"}, "Did you mean 'exact'"),
        ("rf-sde", {"start": 0.5, "stop": 0.2}, "`start` must not come after `stop`"),
    ],
)
def test_impossible_parameters_are_refused(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        inversion_of(name, values)


@pytest.mark.parametrize(
    ("inversion", "message"),
    [
        (RFInversion(start=5, stop=0.5), "`inversion.start` 5 comes after `inversion.stop` 0.5 in a run of 6 steps"),
        (FlowEdit(last_steps=0.5, plain_steps=4), "`inversion.plain_steps` 4 is more than `inversion.last_steps` 0.5"),
        (FlowEdit(last_steps=0.05), "leaves no step to run"),
    ],
)
def test_what_only_the_number_of_steps_tells_is_refused_before_the_model_runs(
    inversion: Inversion, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any) -> None:
        raise AssertionError("the model ran")

    monkeypatch.setattr(ToyMMDiT, "velocity", run)
    with pytest.raises(InvalidInputError, match=message):
        Editor(ToyMMDiT(), inversion, None, progress=False).edit(PICTURE, "a dog", steps=6)


def test_a_method_that_would_never_act_is_refused() -> None:
    tool = Editor(ToyMMDiT(), SDEdit(strength=0.5), HeadRouter(stop=0.25), progress=False)
    with pytest.raises(IncompatibleError, match=r"HeadRouter acts in none of the steps .* runs steps 4 to 7 of 0 to 7"):
        tool.edit(PICTURE, "a dog", steps=8)


def test_flowedit_without_a_source_is_refused() -> None:
    solved = Solved(wave, grid(4), SOURCE, NOISE, edits=1)
    edits = [row for row in solved.rows if not row.is_source]
    with pytest.raises(IncompatibleError, match="this run has no source"):
        FlowEdit().sample_step(1, State(SOURCE), edits, solved._velocity, solved.inputs)
    assert solved.calls == 0


def test_what_has_no_inversion_says_so() -> None:
    for name in ("flowedit", "sdedit"):
        with pytest.raises(IncompatibleError, match="inverts nothing"):
            Editor(ToyMMDiT(), name, None, progress=False).invert(PICTURE)
        solved = Solved(wave, grid(2), SOURCE)
        with pytest.raises(IncompatibleError, match="has no inversion"):
            inversion_of(name).invert_step(0, State(SOURCE), solved.rows, solved._velocity, solved.inputs)


def test_parameters_are_strict() -> None:
    with pytest.raises(ValidationError):
        FlowEdit(last_steps=True)
    with pytest.raises(ValidationError):
        SDEdit(strength="0.5")
