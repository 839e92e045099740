"""The oracle reads drawings as they were meant, and says how sure it can be."""

import numpy as np
import pytest
from headrouter_shapes.world.oracle import read
from headrouter_shapes.world.render import render_array
from headrouter_shapes.world.scene import sample_scene

from headrouter.errors import InvalidInputError


def _sample(seed: int, count: int) -> list:
    generator = np.random.default_rng(seed)
    return [sample_scene(generator) for _ in range(count)]


def test_clean_drawings_are_read_without_a_mistake() -> None:
    scenes = _sample(21, 40)
    readings = read(render_array(scenes))
    assert [reading.attributes for reading in readings] == [scene.attributes for scene in scenes]
    assert max(reading.distance for reading in readings) < 16


def test_noise_of_a_twentieth_of_the_range_does_no_harm() -> None:
    scenes = _sample(22, 12)
    noise = np.random.default_rng(0).normal(0, 12, (12, 64, 64, 3))
    noisy = np.clip(render_array(scenes) + noise, 0, 255).astype(np.uint8)
    assert [reading.attributes for reading in read(noisy)] == [scene.attributes for scene in scenes]


def test_a_picture_of_another_world_is_far_from_every_drawing() -> None:
    strange = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert read(strange)[0].distance > 60


def test_a_reading_does_not_depend_on_the_pictures_beside_it() -> None:
    pictures = render_array(_sample(23, 3))
    assert read(pictures)[1] == read(pictures[1:2])[0]


@pytest.mark.parametrize(
    ("pictures", "found"),
    [
        (np.zeros((1, 32, 32, 3), np.uint8), r"uint8 \[1, 32, 32, 3\]"),
        (np.zeros((64, 64, 3), np.uint8), r"uint8 \[64, 64, 3\]"),
        (np.zeros((1, 64, 64, 3), np.float32), "float32"),
    ],
)
def test_pictures_of_another_size_or_type_are_refused(pictures: np.ndarray, found: str) -> None:
    with pytest.raises(InvalidInputError, match=f"`pictures` must be uint8 of shape .*{found}"):
        read(pictures)
