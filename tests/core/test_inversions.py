"""Euler and RF-Inversion against exact solutions, in float64."""

import math

import pytest
import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion
from pydantic import ValidationError

from headrouter.errors import InvalidInputError
from headrouter.sampling.inversion import State
from headrouter.testing.known_velocity import Solved

GENERATOR = torch.Generator().manual_seed(0)
SOURCE = torch.randn(2, 3, 4, 5, generator=GENERATOR, dtype=torch.float64)
NOISE = torch.randn(2, 3, 4, 5, generator=GENERATOR, dtype=torch.float64)


def grid(steps: int) -> list[float]:
    """A shifted grid, so that steps differ in length."""
    return [2 * (1 - i / steps) / (2 - i / steps) for i in range(steps + 1)]


def decay(latents: torch.Tensor, sigma: float) -> torch.Tensor:
    """dx/dσ = cos(3σ)·x; x(σ) = x(0)·exp(sin(3σ)/3)."""
    return math.cos(3 * sigma) * latents


def order(error: dict[int, float]) -> float:
    (coarse, first), (fine, second) = sorted(error.items())
    return math.log(first / second) / math.log(fine / coarse)


@pytest.mark.parametrize("told", ["target", "current"])
def test_euler_is_of_order_one_each_way(told: str) -> None:
    down, up = {}, {}
    for steps in (64, 128):
        solved = Solved(decay, grid(steps), SOURCE)
        exact_noise = SOURCE * math.exp(math.sin(3) / 3)
        down[steps] = float((solved.sample(Euler(), exact_noise) - SOURCE).abs().max())
        up[steps] = float((solved.invert(Euler(told=told)) - exact_noise).abs().max())
    assert order(down) == pytest.approx(1, abs=0.1)
    assert order(up) == pytest.approx(1, abs=0.1)


def test_fixed_point_iterations_make_the_round_trip_exact() -> None:
    errors = []
    for iterations in (0, 1, 40):
        solved = Solved(lambda x, sigma: torch.sin(2 * x + sigma), grid(12), SOURCE)
        inversion = Euler(fixed_point=iterations)
        back = solved.sample(inversion, solved.invert(inversion))
        errors.append(float((back - SOURCE).abs().max()))
    assert errors[0] > errors[1] > 1e-3
    assert errors[2] < 1e-12


def test_euler_counts_its_calls_and_never_asks_at_zero_by_default() -> None:
    solved = Solved(decay, grid(7), SOURCE)
    noise = solved.invert(Euler())
    assert solved.noise_levels == grid(7)[:-1][::-1]
    solved.sample(Euler(), noise)
    assert solved.calls == 14
    assert solved.noise_levels[7:] == grid(7)[:-1]
    solved = Solved(decay, grid(7), SOURCE)
    solved.invert(Euler(fixed_point=3))
    assert solved.calls == 7 * 4
    solved = Solved(decay, grid(7), SOURCE)
    solved.invert(Euler(told="current"))
    assert solved.noise_levels[0] == 0.0


@pytest.mark.parametrize("steps", [1, 5, 28])
def test_rf_with_eta_one_everywhere_returns_the_picture(steps: int) -> None:
    solved = Solved(decay, grid(steps), SOURCE)
    inversion = RFInversion(eta=1.0, start=0, stop=1.0)
    result = solved.sample(inversion, NOISE)
    assert float((result - SOURCE).norm() / SOURCE.norm()) < 1e-6
    assert solved.calls == 0, "where η is 1 the model has no say"


@pytest.mark.parametrize("steps", [1, 5, 28])
def test_rf_with_gamma_one_reaches_the_noise(steps: int) -> None:
    solved = Solved(decay, grid(steps), SOURCE, NOISE)
    result = solved.invert(RFInversion(gamma=1.0))
    assert float((result - NOISE).norm() / NOISE.norm()) < 1e-6
    assert solved.calls == 0


@pytest.mark.parametrize("stop", [0, 3])
def test_rf_holds_the_source_on_the_line_to_the_picture(stop: int) -> None:
    """After every step the source's row is y_0 + σ·(x_1 − y_0); the edits are as they are without, and so are the calls."""
    sigmas, calls, edits = grid(8), [], []
    for hold in (False, True):
        solved = Solved(lambda x, sigma: torch.sin(2 * x + sigma), sigmas, SOURCE, edits=1)
        inversion, both = RFInversion(eta=0.7, stop=stop, hold_source=hold), torch.cat([SOURCE, SOURCE])
        state = State(torch.cat([NOISE, NOISE]))
        for step in range(8):
            state = inversion.sample_step(step, state, solved.rows, solved._velocity, solved.inputs)
            line = both + sigmas[step + 1] * (torch.cat([NOISE, NOISE]) - both)
            assert torch.allclose(state.latents[:2], line[:2], atol=1e-12) == hold
            assert not torch.allclose(state.latents[2:], line[2:], atol=1e-3)
        calls.append(solved.calls)
        edits.append(state.latents[2:])
    assert torch.equal(*edits) and calls[0] == calls[1] == 8


def test_rf_without_control_is_euler() -> None:
    free, plain = RFInversion(gamma=0.0, eta=0.0), Euler()
    ours, theirs = Solved(decay, grid(10), SOURCE, NOISE), Solved(decay, grid(10), SOURCE, NOISE)
    noise = ours.invert(free)
    assert torch.equal(noise, theirs.invert(plain))
    assert torch.equal(ours.sample(free, noise), theirs.sample(plain, noise))
    assert ours.calls == theirs.calls == 20


def test_rf_controls_only_its_window() -> None:
    """By hand: with a zero field, a controlled step multiplies the distance to the picture by 1 + Δσ·η/σ, others keep it."""
    sigmas = grid(8)
    solved = Solved(lambda x, sigma: torch.zeros_like(x), sigmas, SOURCE)
    inversion = RFInversion(eta=0.5, start=2, stop=5, decay=1.0)
    distance = 1.0
    for step in range(2, 5):
        eta = 0.5 * (1 - step / 8)
        distance *= 1 + (sigmas[step + 1] - sigmas[step]) * eta / sigmas[step]
    result = solved.sample(inversion, SOURCE + 1)
    assert torch.allclose(result, SOURCE + distance, atol=1e-12)
    assert [inversion.controller(step, 8) > 0 for step in range(8)] == [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_step_number_is_not_a_fraction() -> None:
    assert [RFInversion(stop=1).controller(step, 8) for step in range(3)] == [0.9, 0.0, 0.0]
    assert [RFInversion(stop=1.0).controller(step, 8) for step in (0, 7)] == [0.9, 0.9]


def test_a_window_that_is_upside_down_is_refused() -> None:
    with pytest.raises(ValidationError, match="`start` must not come after `stop`"):
        RFInversion(start=5, stop=3)
    with pytest.raises(InvalidInputError, match="comes after"):
        RFInversion(start=20, stop=0.5).sampling_steps(28)


@pytest.mark.parametrize(
    "values", [{"eta": 1.1}, {"gamma": -0.1}, {"start": 1.5}, {"stop": -1}, {"steps": 0}, {"start": True}]
)
def test_constants_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RFInversion(**values)
