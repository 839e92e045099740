"""The benchmark's cases, measures and intervals: what they are worth is known beforehand."""

import dataclasses
import math

import numpy as np
import pytest
from headrouter_shapes.bench.intervals import mean, rate, student, wilson
from headrouter_shapes.bench.measures import measure
from headrouter_shapes.bench.sets import KINDS, SETS, Case, cases, fingerprint
from headrouter_shapes.evaluate import evaluation_scenes
from headrouter_shapes.world.caption import parse
from headrouter_shapes.world.render import changed_region, render_array
from headrouter_shapes.world.scene import Scene, is_held_out
from scipy import stats

from headrouter.errors import InvalidInputError


def test_tune_and_test_share_no_scene_with_each_other_or_with_the_evaluation() -> None:
    tune, test = ({one for case in cases(name, 400) for one in (case.source, case.target)} for name in SETS)
    assert len(tune) == len(test) == 500
    assert not tune & test
    assert not (tune | test) & set(evaluation_scenes(500, seed=7)[0])


def test_the_cases_are_fixed_for_ever() -> None:
    assert fingerprint("tune") == TUNE
    assert fingerprint("test") == TEST


TUNE = "fcf7c19c53eb2b81f5ef39b1bf159baa701a37e1c303cdfa57773cc2bc295b40"
TEST = "8a7eeabb59dea7638e48f9f726af2c0de57a3ecbaedc7a03d25c3e745ff64eb1"


@pytest.mark.parametrize("name", SETS)
def test_quick_is_the_beginning_of_full_and_has_as_many_of_each_kind(name: str) -> None:
    quick, full = cases(name), cases(name, 400)
    assert quick == full[:80]
    assert all(sum(case.kind == kind for case in quick) == 10 for kind in KINDS)
    assert all(sum(case.kind == kind for case in full) == 50 for kind in KINDS)
    assert len({case.source for case in full}) == 100 and all(is_held_out(case.source) for case in full)


def test_a_case_changes_one_word_and_says_so() -> None:
    for case in cases("tune"):
        before, after = case.source.attributes, case.target.attributes
        assert [kind for kind in KINDS if before[kind] != after[kind]] == [case.kind]
        assert case.source.variation == case.target.variation
        assert parse(case.source_prompt) == before and parse(case.prompt) == after
        assert case.change == f"{before[case.kind]} → {after[case.kind]}"
    first, second = cases("tune")[3:5]
    assert (first.seed(0), first.seed(2), second.seed(2)) == (0, 2000, 2001)


@pytest.mark.parametrize(("name", "count"), [("train", 8), ("tune", 0), ("tune", 401)])
def test_other_sets_and_sizes_are_refused(name: str, count: int) -> None:
    with pytest.raises(InvalidInputError, match=r"`(set|count)` must be"):
        cases(name, count)


def one(kind: str, target: str, **source: str) -> Case:
    before = Scene(**source, variation=5)  # type: ignore[arg-type]
    return Case(0, 0, kind, before, dataclasses.replace(before, **{kind: target}), 0)  # type: ignore[arg-type]


COLOUR = one("colour", "blue", colour="yellow", shape="star")


def pictures(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Source, target and the changed region."""
    source, target = render_array([case.source, case.target])
    return source, target, changed_region(case.source, case.target)


def test_the_true_target_is_right_and_the_source_is_wrong() -> None:
    for case in cases("tune", 8):
        source, target, _ = pictures(case)
        right, wrong = measure(np.stack([target, source]), [case, case])
        assert right.success and right.others_unchanged and right.truth == 99
        assert right.preservation > 35 or math.isnan(right.preservation)
        assert not wrong.success and not wrong.reads_new and not wrong.nearer
        assert wrong.others_unchanged and wrong.truth < 40
        assert wrong.read[case.kind] == getattr(case.source, case.kind)


def test_a_half_changed_picture_is_judged_by_the_half_that_is_larger() -> None:
    source, target, _ = (part.astype(float) for part in pictures(COLOUR))
    mixed = [np.round(source + share * (target - source)).astype(np.uint8) for share in (0.45, 0.55)]
    before, after = measure(np.stack(mixed), [COLOUR, COLOUR])
    assert (before.nearer, after.nearer) == (False, True)
    assert not before.success and after.success == after.reads_new


def test_a_new_value_in_another_place_is_no_success() -> None:
    """The oracle reads blue, but where the picture should have become blue it did not."""
    elsewhere = dataclasses.replace(COLOUR.target, position="bottom", size="small")
    (found,) = measure(render_array([elsewhere]), [COLOUR])
    assert found.reads_new and not found.nearer and not found.success and not found.others_unchanged


def test_what_must_not_change_is_measured_outside_the_region_alone() -> None:
    source, target, region = pictures(COLOUR)
    spoilt = target.copy()
    spoilt[~region] = source[~region] - 10
    (found,) = measure(spoilt[None], [COLOUR])
    assert found.preservation == pytest.approx(20 * math.log10(255 / 10))
    inside = source.copy()
    inside[region] = 0
    assert measure(inside[None], [COLOUR])[0].preservation == 99


def test_the_distance_to_the_truth_is_of_the_whole_picture() -> None:
    _, target, _ = pictures(COLOUR)
    off = np.where(target > 127, target - 5, target + 5).astype(np.uint8)
    assert measure(off[None], [COLOUR])[0].truth == pytest.approx(20 * math.log10(255 / 5))


def test_another_background_of_thin_lines_leaves_nothing_to_keep() -> None:
    case = one("background", "pink", background="white", style="outlined", size="small")
    _, target, region = pictures(case)
    assert (~region).sum() < 64
    (found,) = measure(target[None], [case])
    assert math.isnan(found.preservation) and found.success


def test_pictures_and_cases_go_in_pairs() -> None:
    with pytest.raises(InvalidInputError, match="one for each of the 1 cases"):
        measure(render_array([COLOUR.source, COLOUR.target]), [COLOUR])


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
