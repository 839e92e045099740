"""The curve of reconstruction over model calls."""

import json
from pathlib import Path

import numpy as np
import pytest
from headrouter_shapes import reconstruction
from headrouter_shapes.reconstruction import drawings, main
from PIL import Image


def test_drawings_are_edited_into_themselves() -> None:
    some = drawings(5)
    assert len({case.source for case in some}) == 5
    assert all(case.target == case.source and case.prompt == case.source_prompt for case in some)


def test_what_cannot_be_measured_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["sd9", "--out", str(out)]) == 2
    assert "`backbones` must be of flux, sd3, sd3.5; got sd9." in capsys.readouterr().err
    assert main(["sd3.5", "--pictures", "0", "--out", str(out)]) == 2
    assert "between 1 and 100; got 0" in capsys.readouterr().err
    assert not out.exists()


def test_more_steps_hold_a_picture_better_up_to_what_the_autoencoder_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruction, "STEPS", {"euler": (2, 14), "flowedit": (3,)})
    assert main(["sd3.5", "--pictures", "2", "--guidance", "1", "--out", str(tmp_path), "--device", "cpu"]) == 0
    record = json.loads((tmp_path / "reconstruction.json").read_text())
    few, many, edited = record["points"]
    assert [point["calls"] for point in (few, many)] == [4, 28]
    assert np.mean(many["psnr"]) > np.mean(few["psnr"]) + 1
    assert edited["inversion"] == "flowedit"
    assert edited["calls"] <= 6
    assert np.mean(many["psnr"]) < record["autoencoder, dB"]["sd3.5"] < 40
    assert np.mean(few["psnr"]) < np.mean(edited["psnr"]) < record["autoencoder, dB"]["sd3.5"]
    with Image.open(tmp_path / "reconstruction.png") as picture:
        assert min(picture.size) > 300
