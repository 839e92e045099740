"""The evaluation: what it asks is never trained on, and its figures are what they are called."""

import json
from pathlib import Path

import pytest
import torch
from headrouter_shapes import model_path
from headrouter_shapes.bench import instructions
from headrouter_shapes.bench.sets import cases
from headrouter_shapes.evaluate import GOALS, accuracy, evaluation_scenes, main, table
from headrouter_shapes.pipelines.build import build_pipeline
from headrouter_shapes.pipelines.folder import load_autoencoder, save_pipeline
from headrouter_shapes.pipelines.sampling import encode_pictures
from headrouter_shapes.world.caption import parse
from headrouter_shapes.world.oracle import Reading
from headrouter_shapes.world.pool import to_tensor
from headrouter_shapes.world.render import render_array
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


@pytest.fixture(scope="module")
def instructed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an untrained pipeline of instructions with the bundled autoencoder."""
    folder = tmp_path_factory.mktemp("evaluate") / "flux-kontext"
    save_pipeline(build_pipeline("flux-kontext", load_autoencoder(model_path("flux"))), folder)
    return folder


@pytest.mark.parametrize("answer", ["target", "source"])
def test_a_right_edit_succeeds_and_the_source_given_back_does_not(
    instructed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    """The command on a pipeline that answers perfectly, and on one that ignores the instruction."""
    chosen, asked = cases("test", 8), []

    def answered(pipeline, noise, prompts, *, steps, guidance, reference) -> torch.Tensor:
        first = len(asked)
        asked.extend(prompts)
        assert noise.shape == reference.shape and (steps, guidance) == (2, 1.5)
        part = [getattr(case, answer) for case in chosen[first : first + len(prompts)]]
        return encode_pictures(pipeline, to_tensor(render_array(part)))

    monkeypatch.setattr(instructions, "integrate", answered)
    how = ["--pictures", "8", "--steps", "2", "--guidance", "1.5", "--device", "cpu"]
    assert main([str(instructed), *how, "--out", str(tmp_path)]) == 0
    assert asked == [case.instruction for case in chosen]
    found = json.loads((tmp_path / "figures.json").read_text())["flux-kontext"]
    assert found["all kinds"]["success"] == (answer == "target") and 33 < found["all kinds"]["preservation, dB"] < 60
    assert sorted(found["kinds"]) == sorted(SEMANTICS) and all(one["edits"] == 1 for one in found["kinds"].values())
    assert (tmp_path / "flux-kontext.png").is_file()
    assert ("| **0.0%** |" in capsys.readouterr().out) == (answer == "source")
