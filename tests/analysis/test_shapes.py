"""On the bundled model, where the truth is known: maps find the object, and the profile can be used."""

import json
import math

import numpy as np
import pytest
from headrouter_analysis.blocks import drawn_masks, rank_blocks
from headrouter_analysis.dropping import Dropping, measure_dropping
from headrouter_analysis.heads import analyse_heads
from headrouter_analysis.pairs import drawn_pairs
from headrouter_analysis.routing_trial import VARIANTS, try_routing
from headrouter_analysis.runs import Runs
from headrouter_rf.rf import RFInversion

from headrouter.assembly import backbone_of


@pytest.fixture(scope="module")
def runs() -> Runs:
    backbone, _ = backbone_of("sd3.5", (), model="shapes", pipeline=None, values={})
    return Runs(backbone, steps=3)


@pytest.mark.parametrize("direction", ["T2I", "I2T"])
def test_the_map_of_the_objects_word_is_on_the_object(runs: Runs, direction: str) -> None:
    items = drawn_masks(8, seed=1)
    best = rank_blocks(runs, items, direction=direction)[0]
    assert best.area_under_curve.mean > 0.85, best
    assert best.overlap.mean > 0.3, best


def test_a_mask_of_another_picture_fits_worse(runs: Runs) -> None:
    from dataclasses import replace

    items = drawn_masks(8, seed=1)
    others = [replace(item, mask=other.mask) for item, other in zip(items, items[1:] + items[:1], strict=True)]
    own, strange = (max(score.area_under_curve.mean for score in rank_blocks(runs, which)) for which in (items, others))
    assert own > strange + 0.1


def test_a_profile_is_measured_and_used(runs: Runs, tmp_path) -> None:
    wanted = ["colour", "background"]
    analysis = analyse_heads(runs, drawn_pairs(4, semantics=wanted))
    assert analysis.profile.semantics == ("colour", "background")
    assert analysis.specialisation.observed > analysis.specialisation.ninety_fifth
    found = measure_dropping(runs, analysis.profile, top=30, pictures=2, draws=1, batch=2)
    assert found.changed.shape == (2, 2, 8) and found.changed.mean() > 0.1, "without 30 of 36 heads pictures change"
    (tmp_path / "heads.json").write_text(json.dumps(analysis.profile.as_dict()))
    trial = try_routing(
        runs, RFInversion(), str(tmp_path), edits=1, weights={"gamma": 3.0}, semantics=["colour"], batch=1
    )
    assert trial.values.shape == (4, 1, 3) and trial.semantics == ("colour",)
    assert len({float(value) for value in trial.values[:, 0, 2]}) == 4, "each way of routing gives another picture"
    difference = trial.difference("profile", "plain")["error"]["mean"]
    assert math.isclose(difference, trial.values[2, 0, 2] - trial.values[0, 0, 2], rel_tol=1e-4)
    assert set(trial.mean(VARIANTS[0])) == {"edited", "kept", "error"}


def test_shares_of_what_changed_are_paired_by_picture() -> None:
    changed = np.zeros((2, 4, 3))
    changed[0, :, 1] = [1, 1, 1, 0]  # the second semantic, without its own heads
    changed[1, :, 1] = [1, 0, 0, 0]  # the same, without the third's heads
    changed[1, :, 2] = [1, 1, 0, 0]  # the third, without its own heads
    chance = np.zeros((4, 3))
    chance[:, 1] = [0.5, 0, 0, 0]
    found = Dropping(("b", "c"), ("a", "b", "c"), changed, chance)
    row = found.row("b")
    assert row["changed without its heads"]["mean"] == 0.75
    assert row["changed without random heads"]["mean"] == 0.125
    assert row["more than random"]["mean"] == 0.625
    assert found.more_than_random.mean == pytest.approx((0.75 + 0.5) / 2 - 0.125 / 2)
    assert found.more_than_others.mean == pytest.approx((0.75 - 0.25 + 0.5 - 0) / 2)
