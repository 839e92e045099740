"""Scenes: frozen, drawn from seeds, edited one semantic at a time, and some of them kept from training."""

import dataclasses
import itertools

import numpy as np
import pytest
from headrouter_shapes.world.pool import training_scenes
from headrouter_shapes.world.scene import OFFSET, Scene, edit, is_held_out, sample_scene, variation_of
from headrouter_shapes.world.vocabulary import SEMANTICS
from hypothesis import given
from hypothesis import strategies as st

from headrouter.errors import InvalidInputError

scenes = st.builds(
    Scene,
    **{name: st.sampled_from(values) for name, values in SEMANTICS.items()},
    variation=st.integers(0, 2**31),
)


@given(scenes, st.sampled_from(list(SEMANTICS)), st.integers(0, 2**32))
def test_an_edit_changes_the_one_semantic_and_nothing_else(scene: Scene, semantic: str, seed: int) -> None:
    edited = edit(scene, semantic, np.random.default_rng(seed))
    changed = {name for name in SEMANTICS if getattr(edited, name) != getattr(scene, name)}
    assert changed == {semantic}
    assert edited.variation == scene.variation
    assert edited == edit(scene, semantic, np.random.default_rng(seed))


def test_an_edit_reaches_every_other_value() -> None:
    generator = np.random.default_rng(0)
    for semantic, values in SEMANTICS.items():
        reached = {getattr(edit(Scene(), semantic, generator), semantic) for _ in range(200)}
        assert reached == set(values) - {getattr(Scene(), semantic)}


def test_an_unknown_semantic_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"`semantic` must be one of shape, colour.*'mood'"):
        edit(Scene(), "mood", np.random.default_rng(0))


@pytest.mark.parametrize("semantic", SEMANTICS)
def test_a_value_the_world_does_not_know_is_refused(semantic: str) -> None:
    with pytest.raises(InvalidInputError, match=f"`{semantic}` must be one of .*'dragon'"):
        Scene(**{semantic: "dragon"})


def test_a_negative_variation_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"`variation`.*-1"):
        Scene(variation=-1)


def test_a_scene_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scene().shape = "star"  # type: ignore[misc]


def test_about_one_combination_in_ten_is_held_out_and_every_value_is_trained() -> None:
    names = ("shape", "colour", "texture", "background")
    combinations = [
        Scene(**dict(zip(names, values, strict=True)))
        for values in itertools.product(*(SEMANTICS[name] for name in names))
    ]
    held_out = [scene for scene in combinations if is_held_out(scene)]
    assert 0.06 < len(held_out) / len(combinations) < 0.14
    trained = [scene for scene in combinations if not is_held_out(scene)]
    for name in names:
        assert {getattr(scene, name) for scene in trained} == set(SEMANTICS[name])


def test_what_is_held_out_never_changes() -> None:
    """With another choice, captions that released weights are tested on would have been trained on."""
    assert is_held_out(Scene("star", "orange", "striped", "mint", size="small", number="two", variation=3))
    held_out = [
        (shape, colour)
        for shape in SEMANTICS["shape"]
        for colour in SEMANTICS["colour"]
        if is_held_out(Scene(shape, colour, "striped", "mint"))
    ]
    assert held_out == HELD_OUT_STRIPED_ON_MINT


HELD_OUT_STRIPED_ON_MINT = [("circle", "yellow"), ("square", "blue"), ("triangle", "blue"), ("star", "orange")]


def test_training_never_draws_a_held_out_scene() -> None:
    drawn = training_scenes(seed=0, first=0, count=3000)
    assert not any(is_held_out(scene) for scene in drawn)
    assert len(set(drawn)) == len(drawn)


def test_training_scenes_are_one_list_however_it_is_cut() -> None:
    assert training_scenes(3, 10, 5) == training_scenes(3, 0, 20)[10:15]
    assert training_scenes(3, 0, 5) != training_scenes(4, 0, 5)


def test_held_out_sampling_draws_only_held_out_scenes() -> None:
    generator = np.random.default_rng(1)
    assert all(is_held_out(sample_scene(generator, held_out=True)) for _ in range(50))


@given(st.integers(1, 2**31))
def test_variations_stay_within_their_bounds(number: int) -> None:
    variation = variation_of(Scene(variation=number))
    assert set(map(abs, variation.offset)) <= {0.0, OFFSET}
    assert abs(variation.shade) <= 12.0
    assert abs(variation.paper) <= 9.0
    assert variation == variation_of(Scene("star", variation=number))
