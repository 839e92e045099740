"""Several seeds: each edit is that of its seed alone, in the order of the prompts, from as few inversions as noise allows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from PIL import Image

from headrouter.editing.editor import Editor
from headrouter.editing.record_file import RECORD, read_plain
from headrouter.editing.sheet import edit_sheet
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.fromarray((np.random.default_rng(0).random((30, 46, 3)) * 255).astype(np.uint8))
PROMPTS, SEEDS = ["a blue dog", "two dogs over there"], [3, 0, 7]


def editor(inversion: Any = "rf", **values: Any) -> Editor:
    return Editor(ToyMMDiT(), inversion, progress=False, **values)


def same(first: Image.Image, second: Image.Image) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("inversion", ["rf", "rf-sde", "flowedit", "sdedit"])
def test_each_edit_is_that_of_its_seed_alone(inversion: str) -> None:
    result = editor(inversion).edit(PICTURE, PROMPTS, "a red cat", steps=3, seed=SEEDS)
    assert [prompt.text for prompt in result.prompts] == [text for text in PROMPTS for _ in SEEDS]
    assert result.seeds == (3, 0, 7, 3, 0, 7)
    for place, seed in enumerate(SEEDS):
        alone = editor(inversion).edit(PICTURE, PROMPTS, "a red cat", steps=3, seed=seed)
        assert alone.seeds == (seed, seed)
        for number in range(len(PROMPTS)):
            edit = number * len(SEEDS) + place
            assert same(result.images[edit], alone.images[number]), "the batch of each run is the same"
            assert np.array_equal(result.head_weights[edit], alone.head_weights[number], equal_nan=True)
            assert result.text_map("dog" if number == 0 else "there", edit).equal(
                alone.text_map("dog" if number == 0 else "there", number)
            )
    assert not same(result.images[0], result.images[1])


def test_the_inversion_is_shared_where_it_draws_no_noise(tmp_path: Path) -> None:
    own = editor("rf").edit(PICTURE, "a dog", steps=4, seed=SEEDS)
    assert own.cost.calls == 3 * editor("rf").edit(PICTURE, "a dog", steps=4).cost.calls
    free = editor(RFInversionSDE(gamma=0.0))
    kept = free.invert(PICTURE, steps=4)
    alone, shared = (free.edit(PICTURE, "a dog", steps=4, seed=seed) for seed in (5, SEEDS))
    assert shared.cost.calls - kept.cost.calls == 3 * (alone.cost.calls - kept.cost.calls)
    given = free.edit(PICTURE, "a dog", steps=4, seed=SEEDS, start=kept.save(tmp_path / "x.safetensors"))
    assert all(map(same, given.images, shared.images)) and given.cost.calls == shared.cost.calls - kept.cost.calls


def test_a_kept_inversion_of_another_seed_serves_where_noise_has_no_part() -> None:
    kept = editor("euler").invert(PICTURE, "a red cat", seed=1)
    editor("euler").edit(PICTURE, "a dog", "a red cat", seed=2, start=kept)
    kept = editor("rf").invert(PICTURE, seed=3)
    with pytest.raises(InvalidInputError, match=r"by its seed \(3, here 0\)"):
        editor("rf").edit(PICTURE, "a dog", seed=SEEDS, start=kept)


def test_groups_and_seeds_together() -> None:
    whole, parts = (editor(max_rows=rows).edit(PICTURE, PROMPTS, steps=3, seed=[1, 2]) for rows in (None, 2))
    for one, other in zip(whole.images, parts.images, strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_a_record_holds_prompts_and_seeds_once(tmp_path: Path) -> None:
    tool = editor()
    record = read_plain(tool.edit(PICTURE, PROMPTS, "a red cat", steps=2, seed=SEEDS).save(tmp_path / "out") / RECORD)
    assert record["edit"]["seed"] == SEEDS and record["edit"]["prompt"] == PROMPTS
    assert record["images"] == [f"edit-{number}.png" for number in range(6)]
    assert tool.edit(PICTURE, "a dog", steps=2, seed=[5]).record.edit.seed == (5,)


def test_a_sheet_says_whose_reconstruction_it_shows() -> None:
    result = editor().edit(PICTURE, "a dog", steps=2, seed=[4, 5])
    assert same(result.reconstruction, editor().edit(PICTURE, "a dog", steps=2, seed=4).reconstruction)
    assert edit_sheet(result, 1).size == edit_sheet(result, 0).size


def test_generation_from_several_seeds() -> None:
    first, second, third, fourth = editor().generate(["a red cat", "a tree"], seed=[5, 6])
    for pair, seed in (((first, third), 5), ((second, fourth), 6)):
        for one, other in zip(pair, editor().generate(["a red cat", "a tree"], seed=seed), strict=True):
            assert same(one, other)


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ([], "`seed`: must hold a number"),
        ([1, 1], "`seed`: must hold each number once"),
        ([1, -1], r"`seed.1`: Input should be greater than or equal to 0 \(got -1\)"),
        ([1, 2.5], "`seed.1`: Input should be a valid integer"),
        ([1, True], "`seed.1`: Input should be a valid integer"),
        ([[1]], "`seed.0`: Input should be a valid integer"),
        ("12", "`seed`: Input should be a valid integer"),
        (b"1", "`seed`: Input should be a valid integer"),
        (None, "`seed`: Input should be a valid integer"),
        ([2**63], "`seed.0`: Input should be less than"),
    ],
)
def test_seeds_that_are_none_are_refused(seed: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        editor().edit(PICTURE, "a dog", seed=seed)


def test_a_range_is_several_seeds() -> None:
    assert editor().edit(PICTURE, "a dog", steps=1, seed=range(2)).seeds == (0, 1)


@pytest.mark.parametrize("inversion", ["euler", "rf-solver", "fireflow", RFInversion(gamma=0.0)])
def test_several_seeds_without_noise_are_refused_before_a_model_runs(
    inversion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = editor(inversion)
    monkeypatch.setattr(ToyMMDiT, "encode_prompts", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(IncompatibleError, match=r"`seed` \[1, 2\] would give one and the same picture: `inversion` '"):
        tool.edit(PICTURE, "a dog", seed=[1, 2])


def test_one_seed_where_one_is_asked_for() -> None:
    for call in (editor().invert, editor().reconstruct):
        with pytest.raises(InvalidInputError, match=r"`seed` must be one number here \(got \[1, 2\]\)"):
            call(PICTURE, seed=[1, 2])
