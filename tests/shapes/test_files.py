"""Files are whole or absent, and what is missing, damaged or of another kind is said plainly."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from headrouter_shapes import evaluate, train, weights
from headrouter_shapes.claim import claimed
from headrouter_shapes.files import load_tensors, replacing, save_tensors
from headrouter_shapes.pipelines.build import ShapesPipeline
from headrouter_shapes.pipelines.folder import load_autoencoder, load_pipeline, save_pipeline
from headrouter_shapes.world.sheet import save_sheet
from PIL import Image
from safetensors.torch import load_file, save_file

from headrouter.errors import InvalidInputError, UnknownNameError, WeightsError
from headrouter.models.checksums import CHECKSUMS, write_checksums


@pytest.fixture(scope="module")
def folder(lively: dict[str, ShapesPipeline], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "sd3.5"
    save_pipeline(lively["sd3.5"], place)
    return place


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), replacing(path) as place:
        place.write_text("new, half")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("first", "second"):
        with replacing(path) as place:
            place.mkdir()
            (place / content).touch()
    assert [file.name for file in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_come_back_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(WeightsError, match="there is none"):
        load_tensors(path)
    save_tensors({"weight": torch.arange(1000.0), "step": 3}, path)
    assert load_tensors(path)["step"] == 3
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint", whole[:-32], whole + b" "):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            load_tensors(path)
    save_tensors([1, 2], path)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="dictionary of tensors; got list"):
        load_tensors(path)


def test_one_flipped_bit_anywhere_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    save_tensors({"weight": torch.arange(5.0), "step": 3}, path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(WeightsError, match=r"damaged: its checksum .* Delete it\."):
            load_tensors(path)


def test_what_is_no_result_of_ours_is_not_replaced(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sd3.5").mkdir()
    (tmp_path / "sd3.5" / "thesis.txt").touch()
    (tmp_path / "flux").write_text("notes")
    (tmp_path / "sd3").symlink_to(tmp_path / "nowhere")
    for model in ("sd3.5", "flux", "sd3"):
        assert train.main(["--model", model, "--vae", str(folder), "--out", str(tmp_path), "--device", "cpu"]) == 2
        assert f"{model}' is in the way: results go there, and it has no model_index.json" in capsys.readouterr().err
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidInputError, match=r"cannot write '.*file/x'"),
        replacing(tmp_path / "file" / "x"),
    ):
        pass
    with pytest.raises(InvalidInputError, match=r"cannot write '.*sd3\.5'"):
        save_tensors({}, tmp_path / "sd3.5")
    assert (tmp_path / "sd3.5" / "thesis.txt").exists() and not (tmp_path / "nowhere").exists()


def test_one_training_at_a_time_writes_to_a_folder(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--model", "flux", "--vae", str(folder), "--out", str(tmp_path), "--device", "cpu"]
    with claimed(tmp_path), ThreadPoolExecutor() as others:
        assert others.submit(train.main, command).result() == 2
        assert "is in use by another run. Wait until it ends, or choose another folder" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_pipeline_survives_its_folder_up_to_rounding(folder: Path, lively: dict[str, ShapesPipeline]) -> None:
    loaded = load_pipeline(folder)
    for name, weight in lively["sd3.5"].transformer.named_parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(loaded.transformer.get_parameter(name), weight.bfloat16().float())
    assert not any("_name_or_path" in config.read_text() for config in folder.rglob("config.json"))
    stored = load_pipeline(folder, torch.bfloat16).transformer
    assert next(stored.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"garbage"),
        lambda place: (place / "transformer" / "diffusion_pytorch_model.safetensors").unlink(),
        lambda place: (place / "text_encoder_3" / "model.safetensors").write_bytes(b""),
        lambda place: (place / "vae" / "config.json").write_text("{"),
        lambda place: (place / "model_index.json").unlink(),
        lambda place: _narrow(place / "transformer" / "config.json"),
        lambda place: _without_a_tensor(place / "text_encoder_3" / "model.safetensors"),
        lambda place: (place / "tokenizer_3" / "tokenizer.json").unlink(),
    ],
    ids=["garbage", "missing", "empty", "config", "index", "another configuration", "tensor", "vocabulary"],
)
def test_damaged_folders_are_refused_with_their_place(folder: Path, tmp_path: Path, damage: object) -> None:
    place = tmp_path / "copy"
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns(CHECKSUMS))
    damage(place)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=str(place)):
        load_pipeline(place)


def _narrow(config: Path) -> None:
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"num_layers": 5, "attention_head_dim": 16}))


def _without_a_tensor(weights: Path) -> None:
    tensors = load_file(weights)
    save_file(dict(sorted(tensors.items())[1:]), weights, {"format": "pt"})


def test_a_missing_or_damaged_autoencoder_is_refused(folder: Path, tmp_path: Path) -> None:
    assert load_autoencoder(folder).config.latent_channels == 16
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_autoencoder(tmp_path)
    shutil.copytree(folder / "vae", tmp_path / "vae")
    _without_a_tensor(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsError, match="'vae' lacks 1 tensors"):
        load_autoencoder(tmp_path)
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"short")
    with pytest.raises(WeightsError, match="damaged or incomplete"):
        load_autoencoder(tmp_path)


def test_the_command_lines_say_what_is_wrong_and_write_nothing(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = ["--out", str(out), "--device", "cpu"]
    assert train.main(["--model", "sd3", "--vae", str(tmp_path), *common]) == 2
    assert "config.json" in capsys.readouterr().err
    for wrong, why in {
        "--batch 0": "`--batch` must be at least 1 (got 0)",
        "--workers 0": "`--workers` must be at least 1 (got 0)",
        "--workers 2 --batch 3": "`batch` must be a multiple of 4, 2·workers; got 3",
        "--muon-rate nan": "`muon_rate` must be a number from 0 on; got nan",
        "--adam-rate -1": "`adam_rate` must be a number from 0 on; got -1.0",
        "--adam-rate inf": "`adam_rate` must be a number from 0 on; got inf",
        "--seed -1": "`seed` must be from 0 to 4294967295; got -1",
        f"--seed {2**62}": "`seed` must be from 0 to 4294967295; got 4611686018427387904",
        "--save-every nan": "`--save-every` must be a number of seconds from 0 on; got nan",
        "--emphasis shape=2": "`emphasis` is for flux-kontext",
        "--device rubbish": "`device` 'rubbish' cannot be used here",
        "--device meta": "`device` 'meta' cannot be used here",
    }.items():
        assert train.main(["--model", "sd3", *common, *wrong.split()]) == 2
        assert why in capsys.readouterr().err
    assert evaluate.main([str(folder), "--device", "rubbish"]) == 2
    assert "`device` 'rubbish' cannot be used here" in capsys.readouterr().err
    assert train.main(["--model", "flux", "--vae", str(folder), "--start-from", str(tmp_path), *common]) == 2
    assert "model_index.json" in capsys.readouterr().err
    assert evaluate.main([str(tmp_path / "nothing"), "--out", str(out)]) == 2
    assert "model_index.json" in capsys.readouterr().err
    assert not out.exists()


def test_training_resumes_refuses_and_starts_from_released_weights(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "--model",
        "sd3.5",
        "--vae",
        str(folder),
        "--batch",
        "2",
        "--pool",
        "4",
        "--sheet",
        "2",
        "--device",
        "cpu",
    ]
    run = [*common, "--out", str(tmp_path), "--pictures", "2"]
    assert train.main([*run, "--start-from", str(folder)]) == 0
    checkpoint = tmp_path / "sd3.5.checkpoint"
    assert load_tensors(checkpoint)["step"] == 1
    before = {file: file.read_bytes() for file in (tmp_path / "sd3.5").rglob("*") if file.is_file()}
    shutil.rmtree(tmp_path / "sd3.5")  # as if killed between the last checkpoint and the pipeline
    assert train.main(run) == 0
    assert {file: file.read_bytes() for file in (tmp_path / "sd3.5").rglob("*") if file.is_file()} == before
    first = checkpoint.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} >= {"sd3.5", "sd3.5-0000002.png", "sd3.5.checkpoint"}
    assert not any(file.name.startswith(".") for file in tmp_path.iterdir())
    released, trained = (load_pipeline(place).transformer.state_dict() for place in (folder, tmp_path / "sd3.5"))
    assert max((trained[name] - released[name]).abs().max().item() for name in released) < 0.2
    capsys.readouterr()
    assert train.main([*common, "--out", str(tmp_path), "--pictures", "1"]) == 2
    assert "`--pictures` must fill a batch of 2; got 1" in capsys.readouterr().err
    assert train.main([*run, "--seed", "1"]) == 2
    assert "another configuration: seed 0 instead of 1" in capsys.readouterr().err
    assert train.main([*run, "--start-from", str(tmp_path / "sd3.5")]) == 2
    assert "another configuration: start '" in capsys.readouterr().err
    assert checkpoint.read_bytes() == first
    checkpoint.write_bytes(first[:1000])
    assert train.main(run) == 2
    assert "damaged" in capsys.readouterr().err
    assert checkpoint.read_bytes() == first[:1000]
    checkpoint.write_bytes(first)
    latents = next(tmp_path.glob("latents-*"))
    kept = latents.read_bytes()
    save_tensors({"latents": torch.zeros(2)}, latents)
    assert train.main(run) == 2
    assert (
        "must hold the latents of the drawings: `latents` is of type float32[2] instead of" in capsys.readouterr().err
    )
    latents.write_bytes(kept)
    (tmp_path / "sd3.5-0000002.png").unlink()  # as if killed between a checkpoint in mid-run and its sheet
    assert train.main([*run, "--pictures", "4", "--start-from", str(folder)]) == 0
    assert all((tmp_path / f"sd3.5-000000{pictures}.png").exists() for pictures in (2, 4))
    assert train.main(run) == 2
    assert "the checkpoint of sd3.5 is at step 2 of 1. Ask for at least as many `--pictures`" in capsys.readouterr().err


def test_bundled_names_are_known_and_missing_weights_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UnknownNameError, match=r"`backbone` must be one of flux, flux-kontext, sd3, sd3\.5; got 'sdxl'"
    ):
        weights.model_path("sdxl")
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "weights.py"))
    with pytest.raises(WeightsError, match=r"bundled: none\..*headrouter_shapes.train --model flux"):
        weights.model_path("flux")
    (tmp_path / "weights" / "sd3").mkdir(parents=True)
    (tmp_path / "weights" / "sd3" / "model_index.json").touch()
    write_checksums(tmp_path / "weights" / "sd3")
    assert weights.model_path("sd3") == tmp_path / "weights" / "sd3"
    with pytest.raises(WeightsError, match="bundled: sd3"):
        weights.model_path("flux")


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "diffusers", "transformers", "numpy", "PIL")
    code = f"import sys, headrouter_shapes; print([name for name in {heavy!r} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_sheet_shows_its_pictures_in_rows(tmp_path: Path) -> None:
    pictures = np.stack([np.full((4, 4, 3), shade, dtype=np.uint8) for shade in (0, 50, 100)])
    save_sheet(pictures, tmp_path / "sheet.png", columns=2, zoom=1)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (8, 8, 3)
    assert [sheet[0, 0, 0], sheet[0, 4, 0], sheet[4, 0, 0], sheet[4, 4, 0]] == [0, 50, 100, 255]
