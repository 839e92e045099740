"""The evaluation: what it asks is never trained on, and its figures are what they are called."""

from headrouter_shapes.evaluate import GOALS, accuracy, evaluation_scenes, table
from headrouter_shapes.world.caption import parse
from headrouter_shapes.world.oracle import Reading
from headrouter_shapes.world.scene import Scene, is_held_out
from headrouter_shapes.world.vocabulary import SEMANTICS


def test_evaluation_captions_are_held_out_and_fixed_by_the_seed() -> None:
    scenes, captions = evaluation_scenes(60, seed=7)
    assert all(is_held_out(scene) for scene in scenes)
    assert [parse(text) for text in captions] == [scene.attributes for scene in scenes]
    assert evaluation_scenes(60, seed=7) == (scenes, captions)
    assert evaluation_scenes(30, seed=7) == (scenes[:30], captions[:30])
    assert evaluation_scenes(60, seed=8)[0] != scenes


def test_accuracy_counts_each_semantic_and_all_together() -> None:
    scenes = [Scene(), Scene("star"), Scene("heart"), Scene("cross")]
    readings = [Reading(scene.attributes, 1.0) for scene in scenes]
    readings[1] = Reading(scenes[1].attributes | {"colour": "blue"}, 1.0)
    readings[2] = Reading(scenes[2].attributes | {"colour": "blue", "size": "small"}, 1.0)
    expected = dict.fromkeys(SEMANTICS, 1.0) | {"colour": 0.5, "size": 0.75, "all eight": 0.5}
    assert accuracy(scenes, readings) == expected


def test_the_table_marks_what_falls_short() -> None:
    figures = {
        "round trip, dB": 35.0,
        "reconstruction, dB": 29.0,
        "generated": dict.fromkeys(SEMANTICS, 0.92) | {"all eight": 0.6},
        "oracle after the round trip": dict.fromkeys(SEMANTICS, 1.0),
        "load, s": 1.2,
        "megabytes": 20.0,
    }
    text = table({"sd3": figures})
    assert "| round trip, dB | 32 | 35.0 |" in text
    assert "| reconstruction, dB | 30 | **29.0** |" in text
    assert "| generated: colour | 95% | **92.0%** |" in text
    assert "| generated: shape | 90% | 92.0% |" in text
    assert set(GOALS) >= set(SEMANTICS)
