"""The checksums of bundled and trained pipelines: right, and asked by everything that loads them."""

import random
import shutil
from pathlib import Path

import pytest
import torch
from headrouter_editors.flux_kontext import FluxKontext
from headrouter_sd3.parameters import SD35Parameters
from headrouter_shapes import model_path, weights
from headrouter_shapes.pipelines.folder import load_autoencoder, load_pipeline, save_pipeline
from headrouter_shapes.weights import BUNDLED

from headrouter import Editor
from headrouter.cli import main
from headrouter.errors import PluginError, WeightsError
from headrouter.models import checksums
from headrouter.models.checksums import CHECKSUMS, files_of, refuse_changed, write_checksums
from headrouter.models.fingerprint import folder_fingerprint


def flip(file: Path, place: int) -> None:
    """Change one bit of the byte at ``place``."""
    with file.open("r+b") as content:
        content.seek(place)
        byte = content.read(1)[0]
        content.seek(place)
        content.write(bytes([byte ^ 1 << place % 8]))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_list_of_a_bundled_folder_is_right_and_whole(name: str, tmp_path: Path) -> None:
    folder = model_path(name)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    write_checksums(copy)
    assert (copy / CHECKSUMS).read_bytes() == (folder / CHECKSUMS).read_bytes()
    assert {CHECKSUMS, *files_of(folder)} == {
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    }


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path: Path) -> None:
    copy, chance = Path(shutil.copytree(model_path("sd3"), tmp_path / "copy")), random.Random(7)
    for name in (*files_of(copy), CHECKSUMS):
        place = chance.randrange((copy / name).stat().st_size)
        flip(copy / name, place)
        with pytest.raises(WeightsError, match=r"`model` 'sd3' has "):
            refuse_changed("sd3", copy)
        flip(copy / name, place)
    refuse_changed("sd3", copy)


def test_all_that_loads_a_folder_asks(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model_path("sd3.5"), tmp_path / "copy"))
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    flip(file, file.stat().st_size - 1000)
    said = "has another transformer/diffusion_pytorch_model.safetensors than its checksums.sha256 was written for"
    for load in (
        lambda: SD35Parameters(device="cpu").load(str(copy)),
        lambda: Editor("sd3.5", model=str(copy)).backbone,
        lambda: load_pipeline(copy),
        lambda: load_autoencoder(copy),
        lambda: load_autoencoder(copy / "vae"),
    ):
        with pytest.raises(WeightsError, match=said):
            load()
    (copy / CHECKSUMS).unlink()
    load_pipeline(copy)
    (copy / "vae").rename(tmp_path / "vae")
    (tmp_path / CHECKSUMS).write_text("a list of something else")
    load_autoencoder(tmp_path / "vae")
    instructed = Path(shutil.copytree(model_path("flux-kontext"), tmp_path / "instructed"))
    flip(instructed / "vae" / "diffusion_pytorch_model.safetensors", 99_999)
    with pytest.raises(WeightsError, match="has another vae/diffusion_pytorch_model"):
        FluxKontext(model=str(instructed)).load(torch.device("cpu"))


def test_a_saved_pipeline_has_its_list_which_is_no_part_of_its_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    save_pipeline(load_pipeline(model_path("sd3")), folder)
    refuse_changed("saved", folder)
    before = folder_fingerprint(folder)
    (folder / CHECKSUMS).unlink()
    assert folder_fingerprint(folder) == before


def test_bundled_weights_without_their_list_are_refused_and_the_doctor_sees_damaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model_path("sd3"), tmp_path / "weights" / "sd3")
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "weights.py"))
    flip(tmp_path / "weights" / "sd3" / "model_index.json", 20)
    assert main(["doctor"]) == 0
    assert "damaged" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "LARGEST_TEXT", 9)
        assert main(["doctor"]) == 0
        assert "at most 9 are read" in capsys.readouterr().out
    (tmp_path / "weights" / "sd3" / CHECKSUMS).unlink()
    with pytest.raises(PluginError, match=r"'sd3' has no checksums\.sha256 in .* Install headrouter again"):
        Editor("sd3", model="shapes")
