"""Pictures, masks and changed regions of scenes."""

import dataclasses

import numpy as np
import pytest
from headrouter_shapes.world.render import changed_region, mask, render, render_array
from headrouter_shapes.world.scene import Scene, edit, sample_scene, variation_of
from headrouter_shapes.world.vocabulary import BACKGROUND_COLOURS, OBJECT_COLOURS, SEMANTICS
from hypothesis import given, settings

from headrouter.errors import InvalidInputError

from .test_scene import scenes


@given(scenes)
@settings(max_examples=25)
def test_the_same_scene_is_the_same_picture_alone_or_among_others(scene: Scene) -> None:
    alone = np.asarray(render(scene))
    assert alone.shape == (64, 64, 3)
    assert np.array_equal(alone, render_array([Scene("star"), scene])[1])


def test_colours_are_the_named_ones() -> None:
    for colour, background in (("red", "white"), ("blue", "black"), ("yellow", "pink")):
        picture = np.asarray(render(Scene("square", colour, background=background)))
        assert tuple(picture[32, 32]) == OBJECT_COLOURS[colour]
        assert tuple(picture[0, 0]) == BACKGROUND_COLOURS[background]


def test_edges_are_anti_aliased() -> None:
    area = mask(Scene("circle"))
    between = (area > 0.05) & (area < 0.95)
    assert 20 < between.sum() < 100
    exact = np.pi * (0.95 * 9.0) ** 2
    assert area.sum() == pytest.approx(exact, rel=0.01)


@given(scenes)
@settings(max_examples=25)
def test_outside_the_mask_there_is_only_paper(scene: Scene) -> None:
    picture = np.asarray(render(scene))
    outside = picture[mask(scene) == 0]
    assert (outside == outside[0]).all()


def _centre(area: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[:64, :64] + 0.5
    return float((x * area).sum() / area.sum()), float((y * area).sum() / area.sum())


@pytest.mark.parametrize(
    ("position", "expected"),
    [("left", (12, 32)), ("right", (52, 32)), ("top", (32, 12)), ("bottom", (32, 52)), ("center", (32, 32))],
)
@pytest.mark.parametrize("number", SEMANTICS["number"])
def test_the_group_is_where_the_position_says(position: str, expected: tuple[float, float], number: str) -> None:
    for variation in range(6):
        scene = Scene(position=position, number=number, size="small", variation=variation)
        moved = np.add(expected, variation_of(scene).offset)
        assert _centre(mask(scene)) == pytest.approx(tuple(moved), abs=0.1)


@pytest.mark.parametrize("shape", SEMANTICS["shape"])
def test_three_objects_cover_three_times_one(shape: str) -> None:
    one, two, three = (mask(Scene(shape, size="small", number=number)).sum() for number in SEMANTICS["number"])
    assert two == pytest.approx(2 * one, rel=0.02)
    assert three == pytest.approx(3 * one, rel=0.02)


def test_sizes_are_clearly_apart() -> None:
    for shape in SEMANTICS["shape"]:
        small, large = (mask(Scene(shape, size=size)).sum() for size in SEMANTICS["size"])
        assert large > 1.9 * small


@given(scenes)
@settings(max_examples=20)
def test_every_edit_shows_and_only_inside_its_region(scene: Scene) -> None:
    generator = np.random.default_rng(0)
    for semantic in SEMANTICS:
        target = edit(scene, semantic, generator)
        region = changed_region(scene, target)
        before, after = render_array([scene, target]).astype(int)
        difference = np.abs(before - after).max(axis=-1)
        assert region.any()
        assert difference[~region].max(initial=0) <= 8
        if semantic == "background":
            assert region[mask(scene) == 0].all()
        elif semantic in {"colour", "texture"}:
            assert not changed_region(scene, target, margin=0)[mask(scene) == 0].any()


def test_a_colour_edit_changes_the_whole_of_a_plain_body() -> None:
    source = Scene("star", "red", number="two", variation=4)
    region = changed_region(source, dataclasses.replace(source, colour="blue"), margin=0)
    assert region[mask(source) > 0.5].all()


def test_an_unchanged_scene_has_no_changed_region_and_a_margin_grows_it() -> None:
    source, target = Scene(), Scene(number="two")
    assert not changed_region(source, source).any()
    sizes = [changed_region(source, target, margin).sum() for margin in (0, 1, 3)]
    assert sizes[0] < sizes[1] < sizes[2]
    with pytest.raises(InvalidInputError, match=r"`margin`.*-1"):
        changed_region(source, target, margin=-1)


def test_no_two_captions_of_the_world_share_a_picture() -> None:
    generator = np.random.default_rng(5)
    for _ in range(40):
        scene = dataclasses.replace(sample_scene(generator), variation=0)
        for semantic in SEMANTICS:
            before, after = render_array([scene, edit(scene, semantic, generator)]).astype(int)
            assert np.abs(before - after).max() > 40, (semantic, scene)
