"""The head router's mathematics: known answers, ties, magnitudes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from headrouter.methods.head_router.head_weights import (
    SPREAD_FLOOR,
    dissimilarity,
    head_gains,
    head_weights,
    normalised,
)


def outputs(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10))
def test_dissimilarity_is_one_minus_cosine(seed: int, scale: float) -> None:
    source, edit = outputs(seed, 5, 7, 3), outputs(seed + 1, 5, 7, 3) * scale
    expected = 1 - functional.cosine_similarity(source.double().flatten(1), edit.double().flatten(1))
    assert torch.allclose(dissimilarity(source, edit).double(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_outputs_are_exactly_alike(dtype: torch.dtype) -> None:
    same = outputs(0, 6, 4096, 64, dtype=dtype)
    assert dissimilarity(same, same.clone()).tolist() == [0.0] * 6
    assert head_weights(normalised(dissimilarity(same, same)), 0.2, 10, 0.5, "anchored").tolist() == [1.0] * 6


def test_rounding_of_bfloat16_is_not_stretched_over_the_range() -> None:
    """Two heads equal up to bfloat16 rounding stay near d̃ = 0 beside one that differs."""
    source = outputs(0, 3, 1024, 64)
    edit = source + outputs(1, 3, 1024, 64) * torch.tensor([0.0, 0.0, 0.3])[:, None, None]
    c = dissimilarity(source, edit.bfloat16())
    assert c[:2].max() < 4 * SPREAD_FLOOR
    assert normalised(c)[:2].max() < 1e-3


def test_a_silent_head_counts_as_unchanged() -> None:
    source, edit = outputs(0, 2, 4, 4), outputs(1, 2, 4, 4)
    source[0] = 0
    assert dissimilarity(source, edit)[0] == 0
    edit[1] = 0
    assert dissimilarity(source, edit)[1] == 0


@given(st.lists(st.floats(0, 2, width=32), min_size=2, max_size=24))
def test_normalisation_keeps_order_and_range(values: list[float]) -> None:
    c = torch.tensor(values)
    d = normalised(c)
    assert 0 <= float(d.min()) == 0 and float(d.max()) <= 1
    assert (d[c.argsort()].diff() >= 0).all()
    if float(c.max() - c.min()) > SPREAD_FLOOR:
        assert float(d.max()) == pytest.approx(1, abs=1e-5)


def test_the_released_constants_amplify_almost_uniformly() -> None:
    low, high = head_weights(torch.tensor([0.0, 1.0]), 0.2, 1.0, 0.5).tolist()
    assert (round(low, 4), round(high, 4)) == (1.0755, 1.1245)


@given(
    d=st.floats(0, 1),
    gamma=st.floats(0, 10),
    k=st.floats(0, 100),
    delta=st.floats(0, 1),
    form=st.sampled_from(["literal", "anchored"]),
)
def test_weights_stay_within_the_increment(d: float, gamma: float, k: float, delta: float, form: str) -> None:
    weight = float(head_weights(torch.tensor([d], dtype=torch.float64), gamma, k, delta, form))
    assert 1 - 1e-9 <= weight <= 1 + gamma + 1e-9
    if form == "anchored":
        assert float(head_weights(torch.zeros(1, dtype=torch.float64), gamma, k, delta, form)) == 1.0


@pytest.mark.parametrize("k", [0.0, 5.0, 30.0, 1000.0])
@pytest.mark.parametrize("delta", [0.0, 0.25, 0.37, 1.0])
def test_gains_are_those_of_the_equation_at_its_extremes_and_exactly_none_where_nothing_differs(
    k: float, delta: float
) -> None:
    d = torch.rand(3, 37, generator=torch.Generator().manual_seed(0))
    d[:, ::5] = 0
    rise = torch.sigmoid(k * (d.double() - delta))
    torch.testing.assert_close(head_gains(d, 0.2, k, delta).double(), 0.2 * rise, atol=1e-5, rtol=0)
    gains = head_gains(d, 0.2, k, delta, "anchored")
    least = 1 / (1 + math.exp(k * delta)) if k * delta < 700 else 0.0
    torch.testing.assert_close(gains.double(), 0.2 * (rise - least), atol=1e-5, rtol=0)
    assert (gains[d == 0] == 0).all()


def test_heads_that_differ_more_weigh_more() -> None:
    weights = head_weights(torch.linspace(0, 1, 11), 0.2, 10.0, 0.5)
    assert (weights.diff() > 0).all()
