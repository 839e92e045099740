"""Operators from Python, the command line and experiment files, on record and run again, on tiny pipelines of three backbones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import PICTURE, photo_in, sd35_in
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_operators.gate import Gate
from headrouter_operators.pmi import ProximalMean
from headrouter_operators.projection import Projection
from PIL import Image

from headrouter import Editor
from headrouter.cli import main
from headrouter.config.yaml_document import parse_yaml
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.experiments import read_experiment
from headrouter.experiments.configuration import Configuration
from headrouter.testing.toy import ToyMMDiT


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path))


def test_an_edit_with_operators_is_on_record_and_runs_again(tmp_path: Path) -> None:
    sd35_in(tmp_path)
    photo, out = photo_in(tmp_path), tmp_path / "out"
    common = ["--no-progress", str(photo), "--model", str(tmp_path / "sd3.5"), "--prompt", "a dog", "--source", "a cat"]
    common += ["--inversion", "flowedit", "--method", "none", "--steps", "3", "--size", "48x32"]
    changes = ["--operator", "projection", "--operator", "gate", "--set", "operator.0.strength=0.5"]
    assert main(["edit", *common, "-o", str(tmp_path / "plain")]) == 0
    assert main(["edit", *common, *changes, "-o", str(out)]) == 0
    record = json.loads((out / "result.json").read_text())
    assert [(one["name"], one["strength"]) for one in record["operators"]] == [("projection", 0.5), ("gate", 1.0)]
    assert json.loads((tmp_path / "plain" / "result.json").read_text())["operators"] == []
    assert main(["edit", "--from", str(out / "result.json"), "--no-progress", "-o", str(tmp_path / "again")]) == 0
    first, again, plain = (pixels(tmp_path / name / "edit-0.png") for name in ("out", "again", "plain"))
    assert np.array_equal(first, again) and not np.array_equal(first, plain)
    assert main(["edit", *common, "--operator", "pmi", "-o", str(out)]) == 2, "flowedit inverts nothing"


@pytest.mark.parametrize(("name", "pipeline"), [("flux", tiny_flux), ("sd3", tiny_sd3)])
def test_other_backbones(name: str, pipeline: Any) -> None:
    loaded = Editor(name, "euler", None, operators="pmi", pipeline=pipeline(), progress=False)
    editors = [Editor(loaded.backbone, "euler", None, operators=some, progress=False) for some in (None, "projection")]
    images = [
        np.asarray(one.edit(PICTURE, "a dog", "a cat", steps=2, size=(48, 32)).image) for one in (loaded, *editors)
    ]
    assert not any(np.array_equal(images[1], other) for other in (images[0], images[2]))


def test_operators_are_an_axis_of_experiments() -> None:
    text = (
        "dataset: {name: shapes, count: 8}\nmodel: shapes\n"
        "matrix:\n  inversion: [flowedit, euler]\n  method: none\n"
        "  operator: [none, {name: gate, sweep: {threshold: [1.2, 2.0]}}, [projection, gate], pmi, {name: veloedit, stop: 1}]\n"
    )
    experiment = read_experiment(parse_yaml(text, "x.yaml"))
    configurations = [one for one in experiment.configurations if isinstance(one, Configuration)]
    assert [one.name for one in configurations] == [
        *("flowedit", "flowedit + gate threshold=1.2", "flowedit + gate threshold=2.0", "flowedit + projection + gate"),
        *(
            "euler",
            "euler + gate threshold=1.2",
            "euler + gate threshold=2.0",
            "euler + projection + gate",
            "euler + pmi",
            "euler + veloedit stop=1",
        ),
    ]
    assert configurations[3].operators == (Projection(), Gate()) and configurations[0].operators == ()
    assert len({one.hash for one in configurations}) == len(configurations)
    inverting, early = experiment.skipped
    assert inverting.name == "flowedit + pmi" and "inverts nothing" in inverting.reason
    assert early.name == "flowedit + veloedit stop=1" and "acts in none of the steps" in early.reason


def test_an_inversion_that_an_operator_changed_is_kept_apart(tmp_path: Path) -> None:
    toy = ToyMMDiT()
    plain, pulled = (Editor(toy, "euler", None, operators=some, progress=False) for some in (None, "pmi"))
    kept = pulled.invert(PICTURE, "a cat", steps=3)
    assert not np.array_equal(kept.latents.numpy(), plain.invert(PICTURE, "a cat", steps=3).latents.numpy())
    whole, started = (pulled.edit(PICTURE, "a dog", "a cat", steps=3, start=start) for start in (None, kept))
    assert np.array_equal(np.asarray(whole.image), np.asarray(started.image))
    with pytest.raises(InvalidInputError, match="`start` does not fit what is asked, by its operators"):
        plain.edit(PICTURE, "a dog", "a cat", steps=3, start=kept)
    assert pulled.reconstruct(PICTURE, "a cat", steps=3).cost.calls == 6


def test_what_cannot_work_is_refused_by_name() -> None:
    with pytest.raises(
        IncompatibleError, match=r"`operator` 'pmi' acts while the picture .* `inversion` 'sdedit' inverts nothing"
    ):
        Editor(ToyMMDiT(), "sdedit", None, operators=[ProximalMean()])
    with pytest.raises(InvalidInputError, match="`operator` must be a name, a VelocityOperator object or a list"):
        Editor(ToyMMDiT(), "euler", None, operators=3)  # type: ignore[arg-type]
