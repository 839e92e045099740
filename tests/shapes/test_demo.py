"""The demo: on the bundled model the edit is right, by the world's own oracle."""

import json

import numpy as np
import pytest
from headrouter_shapes.weights import model_path
from headrouter_shapes.world.oracle import read
from PIL import Image

from headrouter.cli import main
from headrouter.errors import WeightsError


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_demo_edits_what_it_says(tmp_path, capsys):
    model_path("sd3.5")
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    names = ("source.png", "edit-0.png", "truth.png", "sheet.png", "result.json")
    assert all((tmp_path / "demo" / name).is_file() and name in said for name in names)
    record = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert [method["name"] for method in record["methods"]] == ["headrouter"]
    pictures = np.stack([pixels(tmp_path / "demo" / name) for name in names[:3]])
    source, edit, truth = (reading.attributes for reading in read(pictures))
    assert (source["colour"], truth["colour"]) == ("blue", "red")
    assert edit == truth
    assert pixels(tmp_path / "demo" / "sheet.png").shape[1] > 1000


@pytest.mark.parametrize("backbone", ["sd3", "flux"])
def test_a_model_that_is_not_bundled_is_said_to_be_missing(backbone, tmp_path, capsys):
    try:
        model_path(backbone)
    except WeightsError:
        assert main(["demo", "--backbone", backbone, "-o", str(tmp_path)]) == 2
        assert "has no bundled weights here" in capsys.readouterr().err
    assert main(["demo", "--backbone", "sd4", "-o", str(tmp_path)]) == 2
    assert "must be one of" in capsys.readouterr().err
