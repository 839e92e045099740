"""Intervals against scipy, known values and brute force."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from headrouter.experiments.statistics import mean, rate, spread_over_seeds, student, wilson


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.8, 10, 0.4902, 0.9433), (0.0, 10, 0.0, 0.2775), (1.0, 80, 0.9542, 1.0), (0.5, 100, 0.4038, 0.5962)],
)
def test_wilson(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-4)


def test_wilson_of_whole_numbers_is_that_of_scipy() -> None:
    for count in (1, 7, 80, 400):
        for successes in range(count + 1):
            known = stats.binomtest(successes, count).proportion_ci(method="wilson")
            assert wilson(successes / count, count) == pytest.approx((known.low, known.high), abs=1e-12)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (9, 2.262), (11, 2.201), (19, 2.093), (79, 1.990), (399, 1.966)]
)
def test_student(degrees: int, quantile: float) -> None:
    assert student(degrees) == pytest.approx(quantile, abs=5e-4)


def test_a_mean_has_students_interval() -> None:
    found = mean([1.0, 2.0, 3.0, 4.0, 5.0], range(5))
    assert (found.value, found.count) == (3.0, 5)
    assert (found.low, found.high) == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-3)
    assert mean([1.0, math.nan, 3.0], [0, 1, 2]) == mean([1.0, 3.0], [0, 2])
    assert math.isnan(mean([math.nan], [0]).value) and mean([4.0], [0]).high == math.inf


def test_edits_of_one_picture_that_agree_count_once() -> None:
    values, groups = [1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 2, 3, 4]
    alone, twice = mean(values, groups), mean(values * 2, groups * 2)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))
    wins = [True, True, True, False, False, False, False, False]
    pairs = rate(wins * 2, list(range(8)) * 2)
    assert (pairs.low, pairs.high) == pytest.approx(wilson(3 / 8, 16 / (16 / 7)), abs=1e-9)
    assert rate(wins, range(8)) == dataclasses.replace(rate(wins, range(8)), low=wilson(3 / 8, 8)[0])


def test_edits_of_one_picture_that_disagree_widen_nothing() -> None:
    wins = [True, False] * 8
    assert (rate(wins, [n // 2 for n in range(16)]).low, 16) == (wilson(0.5, 16)[0], rate(wins, range(16)).count)


def test_that_kinds_differ_widens_no_interval() -> None:
    """Two kinds 20 dB apart, on pictures of their own, each with the same small scatter."""
    values = [10.0, 11.0, 12.0, 30.0, 31.0, 32.0]
    kinds = ["a"] * 3 + ["b"] * 3
    assert mean(values, range(6)).high - mean(values, range(6)).low > 20
    found = mean(values, range(6), kinds)
    assert found.value == 21 and found.high - found.value == pytest.approx(2.571 * math.sqrt(6 / 5 * 4 / 36), abs=1e-3)


def test_a_rate_lies_in_its_interval_whatever_rounding_does() -> None:
    for trials in range(1, 500):
        for share in (0.0, 1.0):
            low, high = wilson(share, trials / 1.7)
            assert 0 <= low <= share <= high <= 1


def test_intervals_cover_the_mean_about_as_often_as_they_say() -> None:
    """Pictures of four edits each that share a shift; with edits taken as independent they would cover it half as often."""
    generator = np.random.default_rng(1)
    groups = [number // 4 for number in range(80)]
    covered = {True: 0, False: 0}
    for _ in range(200):
        values = 3.0 + np.repeat(generator.normal(0, 2.0, 20), 4) + generator.normal(0, 0.5, 80)
        for whole in covered:
            found = mean(values, groups if whole else range(80))
            covered[whole] += found.low <= 3.0 <= found.high
    assert 0.90 <= covered[True] / 200 <= 0.99 and covered[False] / 200 < 0.8


def test_without_groups_all_are_independent() -> None:
    values = [1.0, 5.0, 2.0, 8.0]
    assert mean(values) == mean(values, range(4)) and rate([True, False, True]) == rate([True, False, True], range(3))


def test_plain_data_are_json() -> None:
    assert mean([4.0]).as_dict() == {"mean": 4.0, "low": None, "high": None, "count": 1}
    assert rate([]).as_dict() == {"mean": None, "low": None, "high": None, "count": 0}


def test_seeds_differ_as_their_means_do() -> None:
    values, seeds = [0.0, 1.0, math.nan, 4.0, 4.0, 1.0], [0, 0, 0, 1, 1, 1]
    assert spread_over_seeds(values, seeds) == pytest.approx(np.std([0.5, 3.0], ddof=1))
    assert math.isnan(spread_over_seeds([1.0, 2.0], [7, 7]))
