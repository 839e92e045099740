"""On the bundled model, where the truth is known: maps find the object, and the profile can be used."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from headrouter_analysis.analyses.blocks import drawn_masks, rank_blocks
from headrouter_analysis.analyses.dropping import Dropping, measure_dropping
from headrouter_analysis.analyses.heads import analyse_heads
from headrouter_analysis.analyses.pairs import drawn_pairs
from headrouter_analysis.analyses.routing_trial import VARIANTS, try_routing
from headrouter_analysis.profile import Profile
from headrouter_analysis.runs import Runs
from headrouter_inversions.rf import RFInversion

from headrouter.cli import main
from headrouter.editing.assembly import backbone_of
from headrouter.methods.head_router.method import HeadRouter


@pytest.fixture(scope="module")
def runs() -> Runs:
    backbone, _ = backbone_of("sd3.5", (), model="shapes", pipeline=None, values={})
    return Runs(backbone, steps=3)


@pytest.mark.parametrize("direction", ["T2I", "I2T"])
@pytest.mark.parametrize("name", ["sd3.5", "sd3", "flux"])
def test_the_map_of_the_objects_word_is_on_the_object(name: str, direction: str) -> None:
    backbone, _ = backbone_of(name, (), model="shapes", pipeline=None, values={})
    best = rank_blocks(Runs(backbone, steps=3), drawn_masks(8, seed=1), direction=direction)[0]
    assert best.area_under_curve.value > 0.85, best
    assert best.overlap.value > 0.3, best


def test_a_mask_of_another_picture_fits_worse(runs: Runs) -> None:
    items = drawn_masks(8, seed=1)
    others = [replace(item, mask=other.mask) for item, other in zip(items, items[1:] + items[:1], strict=True)]
    own, strange = (
        max(score.area_under_curve.value for score in rank_blocks(runs, which)) for which in (items, others)
    )
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
        runs, RFInversion(), str(tmp_path), edits=1, router=HeadRouter(gamma=3.0), semantics=["colour"], batch=1
    )
    assert trial.values.shape == (4, 1, 3) and trial.semantics == ("colour",)
    assert len({float(value) for value in trial.values[:, 0, 2]}) == 4, "each way of routing gives another picture"
    difference = trial.difference("profile", "plain")["error"]["mean"]
    assert math.isclose(difference, trial.values[2, 0, 2] - trial.values[0, 0, 2], rel_tol=1e-4)
    assert set(trial.mean(VARIANTS[0])) == {"edited", "kept", "error"}


def test_where_things_are_is_in_four_heads(runs: Runs) -> None:
    """As `headrouter analyze drop --by specificity` finds (docs/analysis.md)."""
    mean = torch.ones(1, 6, 6).double()
    mean[0, [0, 0, 0, 1], [0, 2, 5, 0]] = 2
    profile = Profile(("position",), mean, mean, 2, {})
    found = measure_dropping(replace(runs, steps=8, guidance=3.0), profile, top=4, pictures=16, draws=2, batch=16)
    changed = dict(zip(found.all_semantics, found.changed[0].mean(axis=0), strict=True))
    assert found.more_than_random.value > 0.3, changed
    assert changed["position"] > 2 * max(changed["colour"], changed["size"], changed["style"]), changed


def test_an_edit_from_the_command_line_drops_and_weighs_heads(tmp_path, capsys) -> None:
    mean = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    (tmp_path / "heads.json").write_text(json.dumps(Profile(("colour",), mean, mean, 2, {}).as_dict()))
    item, out = drawn_masks(1)[0], tmp_path / "out"
    item.picture.save(tmp_path / "picture.png")
    asked = ["edit", str(tmp_path / "picture.png"), "--model", "shapes", "--steps", "2", "--prompt", item.prompt]
    asked += ["--method", "head-dropout", "--method", "profile-routing", "--no-progress", "-o", str(out)]
    asked += ["--set", "method.0.heads=[[2, 2], [4, 1]]", "--set", f"method.1.profile={tmp_path / 'heads.json'}"]
    assert main([*asked, "--set", "method.1.semantic=shape"]) == 2
    assert "'shape' is not in the profile; it has: colour" in capsys.readouterr().err
    assert main([*asked, "--set", "method.1.semantic=colour"]) == 0
    dropout, routing = json.loads((out / "result.json").read_text())["methods"]
    assert (dropout["name"], dropout["heads"]) == ("head-dropout", [[2, 2], [4, 1]])
    assert (routing["name"], routing["semantic"]) == ("profile-routing", "colour")


def test_ways_of_routing_are_compared_from_the_command_line(tmp_path, capsys) -> None:
    mean = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    (tmp_path / "heads.json").write_text(json.dumps(Profile(("colour", "shape"), mean, mean, 2, {}).as_dict()))
    asked = ["analyze", "routing", "--model", "shapes", "--profile", str(tmp_path), "--edits", "2", "--steps", "4"]
    asked += ["--semantic", "colour"]
    asked += ["--no-progress", "-o", str(tmp_path / "out")]
    assert main([*asked, "--preset", "stylisation"]) == 2
    assert "preset" in capsys.readouterr().err
    errors = []
    for by in ("specificity", "sensitivity"):
        assert main([*asked, "--preset", "drawn", "--push", "2", "--by", by]) == 0
        found = json.loads((tmp_path / "out" / "routing.json").read_text())
        errors.append({name: found["means"][name]["error"]["mean"] for name in VARIANTS})
    assert [name for name in VARIANTS if errors[0][name] != errors[1][name]] == ["profile", "profile, shuffled"]
    used = {name: found["weights"][name] for name in ("gamma", "amplify", "where", "start", "stop")}
    assert used == {"gamma": 2.0, "amplify": "difference", "where": "image", "start": 2, "stop": 3}
    assert found["inversion"]["stop"] == 2 and found["edits"] == 2
    assert len((tmp_path / "out" / "routing.csv").read_text().splitlines()) == 1 + 2 * len(VARIANTS)
    assert "profile minus instance-adaptive" in capsys.readouterr().out


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
    assert found.more_than_random.value == pytest.approx((0.75 + 0.5) / 2 - 0.125 / 2)
    assert found.more_than_others.value == pytest.approx((0.75 - 0.25 + 0.5 - 0) / 2)
