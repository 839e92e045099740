"""The benchmark's cases and measures: what they are worth is known beforehand."""

import dataclasses
import math

import numpy as np
import pytest
from headrouter_shapes.bench.measures import measure
from headrouter_shapes.bench.sets import KINDS, SETS, Case, cases, fingerprint
from headrouter_shapes.evaluate import evaluation_scenes
from headrouter_shapes.world.caption import parse
from headrouter_shapes.world.render import changed_region, render_array
from headrouter_shapes.world.scene import Scene, is_held_out

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
