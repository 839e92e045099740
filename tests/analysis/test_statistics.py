"""Areas, overlaps and permutations against brute force and known answers."""

import math

import numpy as np
import pytest
from headrouter_analysis.statistics import area_under_curve, differ_by_group, overlap
from hypothesis import given
from hypothesis import strategies as st

CELLS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5]), st.integers(0, 4)), min_size=2, max_size=12)


def pixels(cells: list[tuple[float, int]]) -> list[tuple[float, bool]]:
    """Every cell as four pixels, of which so many are inside."""
    return [(score, number < inside) for score, inside in cells for number in range(4)]


@given(CELLS)
def test_area_under_the_curve_counts_pairs_of_pixels(cells: list[tuple[float, int]]) -> None:
    scores, coverage = np.array([c[0] for c in cells]), np.array([c[1] / 4 for c in cells])
    inside = [score for score, within in pixels(cells) if within]
    outside = [score for score, within in pixels(cells) if not within]
    area = area_under_curve(scores, coverage)
    if not inside or not outside:
        assert math.isnan(area)
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    assert area == pytest.approx(np.mean(pairs))


@given(CELLS, st.sampled_from([0.3, 0.5, 1.0]))
def test_overlap_counts_pixels(cells: list[tuple[float, int]], threshold: float) -> None:
    scores, coverage = np.array([c[0] for c in cells]), np.array([c[1] / 4 for c in cells])

    def counted(least: float) -> float:
        both = sum(score >= least and within for score, within in pixels(cells))
        either = sum(score >= least or within for score, within in pixels(cells))
        return both / either if either else 0.0

    assert overlap(scores, coverage, threshold) == pytest.approx(counted(threshold * scores.max()))
    assert overlap(scores, coverage) == pytest.approx(max(counted(least) for least in scores))


def test_groups_that_differ_are_told_from_groups_that_do_not() -> None:
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(4), 10)
    noise = generator.normal(size=(40, 6))
    same, other = differ_by_group(noise, groups), differ_by_group(noise + 1.5 * np.eye(4, 6)[groups], groups)
    assert same.p > 0.05 and same.observed == pytest.approx(same.expected, abs=0.05)
    assert other.p < 0.01 and other.observed > other.ninety_fifth > other.expected
    constant = differ_by_group(np.ones((4, 2)), np.array([0, 0, 1, 1]))
    assert (constant.observed, constant.p) == (0.0, 1.0)


def test_few_labels_are_put_in_all_orders() -> None:
    """Of the 24 orders of four labels, 8 put equal rows together again, and 16 mix them evenly."""
    found = differ_by_group(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]))
    assert (found.observed, found.expected, found.p) == pytest.approx((1.0, 1 / 3, 1 / 3))


def test_many_labels_are_shuffled_by_the_seed() -> None:
    """Shares between groups by their definition, group means against the mean of all."""
    generator = np.random.default_rng(4)
    profiles, groups = generator.normal(size=(12, 3)), np.repeat(np.arange(3), 4)

    def between(labels: np.ndarray) -> float:  # type: ignore[type-arg]
        centre = profiles.mean(axis=0)
        means = [profiles[labels == group].mean(axis=0) - centre for group in range(3)]
        return float(4 * np.square(means).sum() / np.square(profiles - centre).sum())

    found, shuffled = differ_by_group(profiles, groups, shuffles=200, seed=5), np.random.default_rng(5)
    chance = [between(shuffled.permutation(groups)) for _ in range(200)]
    assert (found.observed, found.expected) == pytest.approx((between(groups), np.mean(chance)))
    assert found.p == pytest.approx((1 + sum(one >= between(groups) for one in chance)) / 201)
