"""``headrouter edit`` end to end on a tiny pipeline in a folder, and everything that can be wrong with it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import photo_in, sd35_in
from headrouter_diffusers.testing import tiny_flux
from headrouter_flux.parameters import FluxParameters
from PIL import Image

from headrouter.cli import main


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    sd35_in(folder)
    tiny_flux().save_pretrained(folder / "flux")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return photo_in(tmp_path)


def edit(*arguments: Any) -> int:
    return main(["edit", "--no-progress", *map(str, arguments)])


def common(models: Path, photo: Path, *more: Any) -> list[Any]:
    return [photo, "--model", models / "sd3.5", "--prompt", "a dog", "--steps", 2, "--size", "48x32", *more]


def test_edit_and_edit_again(models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    arguments = common(models, photo, "--source", "a cat", "--prompt", "a red dog", "--preset", "stylization")
    assert edit(*arguments, "--keep", 0.5, "--set", "method.gamma=0.7", "--seed", 3, "-o", out) == 0
    printed = capsys.readouterr()
    assert f"{out / 'edit-1.png'}  a red dog" in printed.out and "model calls" in printed.out
    assert printed.err == ""
    record = json.loads((out / "result.json").read_text())
    assert record["inversion"]["eta"] == 0.5 and record["methods"][0]["gamma"] == 0.7
    assert record["backbone"]["name"] == "sd3.5" and record["edit"]["source_prompt"] == "a cat"
    assert edit("--from", out / "result.json", "-o", again) == 0
    for name in ("edit-0.png", "edit-1.png"):
        assert np.array_equal(np.asarray(Image.open(out / name)), np.asarray(Image.open(again / name)))
    assert json.loads((again / "result.json").read_text())["methods"] == record["methods"]


@pytest.mark.parametrize("backbone", ["sd3.5", "flux"])
def test_the_number_of_text_tokens(
    backbone: str, models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    asked = [
        photo,
        "--backbone",
        backbone,
        "--model",
        models / backbone,
        "--steps",
        1,
        "--size",
        "48x32",
        "--method",
        "none",
    ]
    long = "the " * 15
    assert edit(*asked, "--prompt", long, "--max-sequence-length", 8, "-o", out) == 2
    assert "set `max_sequence_length` to 16 or more (at most 24)" in capsys.readouterr().err
    assert edit(*asked, "--prompt", long, "--max-sequence-length", 16, "-o", out) == 0
    assert json.loads((out / "result.json").read_text())["backbone"]["max_sequence_length"] == 16
    assert edit("--from", out, "-o", again) == 0
    assert json.loads((again / "result.json").read_text())["backbone"]["max_sequence_length"] == 16
    assert edit(*asked, "--prompt", long, "--set", "backbone.max_sequence_length=8", "-o", out) == 2
    assert edit(*asked, "--prompt", "a", "--max-sequence-length", 25, "-o", out) == 2
    assert "`max_sequence_length` must be at most 24, what this model takes, got 25" in capsys.readouterr().err


def test_several_seeds_and_again(models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert edit(*common(models, photo, "--prompt", "a cat", "--seed", 3, "--seed", 0), "-o", out) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == f"{out / 'edit-1.png'}  a dog  (seed 0)" and said[2].endswith("edit-2.png  a cat  (seed 3)")
    assert edit("--from", out, "-o", again) == 0
    for number in range(4):
        assert (out / f"edit-{number}.png").read_bytes() == (again / f"edit-{number}.png").read_bytes()
    assert edit(*common(models, photo, "--inversion", "euler", "--seed", 3, "--seed", 0), "-o", out) == 2
    assert "would give one and the same picture" in capsys.readouterr().err


def test_methods_compose_from_the_command_line(models: Path, photo: Path, tmp_path: Path) -> None:
    arguments = common(models, photo, "--method", "maps", "--method", "headrouter", "--inversion", "euler")
    assert edit(*arguments, "--set", "method.1.rho=0.2", "-o", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [method["name"] for method in record["methods"]] == ["maps", "headrouter"] and record["edit"]["maps"] is True
    assert record["methods"][1]["rho"] == 0.2 and record["inversion"]["name"] == "euler"


@pytest.mark.parametrize("name", ["rf-sde", "rf-solver", "fireflow", "flowedit", "sdedit"])
def test_inversions_from_the_command_line_and_again(name: str, models: Path, photo: Path, tmp_path: Path) -> None:
    assert edit(*common(models, photo, "--source", "a cat", "--inversion", name), "-o", tmp_path / "out") == 0
    assert edit("--from", tmp_path / "out", "-o", tmp_path / "again") == 0
    first, again = (np.asarray(Image.open(tmp_path / folder / "edit-0.png")) for folder in ("out", "again"))
    assert np.array_equal(first, again)
    assert json.loads((tmp_path / "again" / "result.json").read_text())["inversion"]["name"] == name


def test_a_published_setting_from_the_command_line(models: Path, photo: Path, tmp_path: Path) -> None:
    arguments = common(models, photo, "--inversion", "flowedit", "--preset", "flowedit-sd3", "--steps", 5)
    assert edit(*arguments, "-o", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (record["edit"]["guidance"], record["inversion"]["last_steps"]) == (13.5, 3)
    assert edit("--from", tmp_path / "out", "-o", tmp_path / "again") == 0


def test_flux_from_the_command_line(models: Path, photo: Path, tmp_path: Path) -> None:
    arguments = [
        photo,
        "--backbone",
        "flux",
        "--model",
        models / "flux",
        "--prompt",
        "a dog",
        "--steps",
        2,
        "--size",
        "48x32",
    ]
    assert edit(*arguments, "--set", "backbone.guidance_kind=two-pass", "-o", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text())["backbone"]["guidance_kind"] == "two-pass"


WRONG: dict[str, tuple[list[Any], str]] = {
    "no prompt": (["PHOTO", "--model", "SD"], "at least one `--prompt`"),
    "empty prompt": (["PHOTO", "--model", "SD", "--prompt", ""], "`prompt` must say what the picture shall show"),
    "too long prompt": (["PHOTO", "--model", "SD", "--prompt", "dog " * 40], "It would lose"),
    "no picture": (["nowhere.png", "--prompt", "a dog"], "cannot read `image` 'nowhere.png'"),
    "no such backbone": (["PHOTO", "--prompt", "a dog", "--backbone", "sd4"], "unknown backbone 'sd4'"),
    "no such inversion": (["PHOTO", "--prompt", "a dog", "--inversion", "eular"], "Did you mean 'euler'"),
    "no such method": (["PHOTO", "--prompt", "a dog", "--method", "router"], "Did you mean 'headrouter'"),
    "no such preset": (["PHOTO", "--model", "SD", "--prompt", "a dog", "--preset", "stile"], "unknown preset 'stile'"),
    "no such model": (["PHOTO", "--prompt", "a dog", "--model", "midium"], "Did you mean 'medium'"),
    "no such parameter": (["PHOTO", "--prompt", "a dog", "--set", "method.gama=1"], "Did you mean `gamma`?"),
    "no such part": (["PHOTO", "--prompt", "a dog", "--set", "methods.gamma=1"], "Did you mean `method`?"),
    "out of range": (["PHOTO", "--prompt", "a dog", "--set", "inversion.eta=2"], "less than or equal to 1 (got 2)"),
    "no step left": (
        ["PHOTO", "--prompt", "a dog", "--inversion", "sdedit", "--set", "inversion.strength=0"],
        "greater than 0 (got 0)",
    ),
    "more plain steps than steps": (
        ["PHOTO", "--prompt", "a dog", "--inversion", "flowedit", "--set", "inversion.plain_steps=0.9"],
        "`plain_steps` are among `last_steps`",
    ),
    "not a number": (["PHOTO", "--prompt", "a dog", "--set", "method.gamma=high"], "--set method.gamma"),
    "keep without a knob": (
        ["PHOTO", "--model", "SD", "--prompt", "a dog", "--inversion", "euler", "--keep", 0.5],
        "`keep` has no meaning here",
    ),
    "preset elsewhere": (
        ["PHOTO", "--model", "SD", "--prompt", "a dog", "--inversion", "euler", "--preset", "age"],
        "takes no part here",
    ),
    "size": (["PHOTO", "--model", "SD", "--prompt", "a dog", "--size", "48x30"], "multiples of 8 pixels, got 48x30"),
    "size that is no size": (
        ["PHOTO", "--model", "SD", "--prompt", "a dog", "--size", "big"],
        "must look like 1024x768",
    ),
    "steps": (["PHOTO", "--model", "SD", "--prompt", "a dog", "--steps", 0], "`steps`: Input should be greater"),
    "device": (["PHOTO", "--model", "SD", "--prompt", "a dog", "--device", "tpu9"], "`device` 'tpu9'"),
    "offload": (
        ["PHOTO", "--model", "SD", "--prompt", "a dog", "--device", "cpu", "--offload", "model"],
        "Leave `offload`",
    ),
    "dtype": (["PHOTO", "--model", "SD", "--prompt", "a dog", "--dtype", "int3"], "`dtype`: Input should be 'auto'"),
    "weights missing": (["PHOTO", "--model", "EMPTY", "--prompt", "a dog"], "model_index.json"),
    "weights of another kind": (["PHOTO", "--model", "FLUX", "--prompt", "a dog"], "'flux'"),
    "weights gated or away": (["PHOTO", "--prompt", "a dog", "--model", "acme/nothing"], "acme/nothing"),
    "from and a picture": (["PHOTO", "--from", "x"], "it takes no image"),
    "from nowhere": (["--from", "nowhere.json"], "cannot read `record`"),
    "from something else": (["--from", "OTHER"], "is not the record of an edit"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(
    case: str, models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"a": 1}')
    names = {
        "PHOTO": photo,
        "SD": models / "sd3.5",
        "FLUX": models / "flux",
        "EMPTY": tmp_path / "empty",
        "OTHER": tmp_path / "other.json",
    }
    arguments, expected = WRONG[case]
    assert edit(*(names.get(a, a) for a in arguments), "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert expected in said, said
    assert "Traceback" not in said and len(said) < 700
    assert not list((tmp_path / "out").glob("*")), "nothing half-written"


def test_debug_shows_the_traceback(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(photo, "--prompt", "a dog", "--backbone", "sd4", "--debug", "-o", tmp_path / "out") == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written(
    models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert edit(*common(models, photo), "-o", tmp_path / "file") == 2
    assert "not writable" in capsys.readouterr().err


def test_a_record_whose_picture_changed(
    models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edit(*common(models, photo), "-o", tmp_path / "out") == 0
    Image.new("RGB", (48, 32)).save(tmp_path / "out" / "source.png")
    assert edit("--from", tmp_path / "out", "-o", tmp_path / "again") == 2
    assert "is not the picture that was edited" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["edit", "backbone", "inversion"])
def test_a_damaged_record(
    damage: str, models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edit(*common(models, photo), "-o", tmp_path / "out") == 0
    path = tmp_path / "out" / "result.json"
    record = json.loads(path.read_text())
    record[damage] = {}
    path.write_text(json.dumps(record))
    assert edit("--from", path, "-o", tmp_path / "again") == 2
    assert "is damaged" in capsys.readouterr().err


def test_pickled_weights_are_refused(
    models: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(models / "sd3.5", folder)
    weights = next((folder / "transformer").glob("*.safetensors"))
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    assert edit(photo, "--model", folder, "--prompt", "a dog", "-o", tmp_path / "out") == 2
    assert "pickle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "when"),
    [
        ("diffusers.SD3Transformer2DModel.forward", "at step 0 with 1 rows"),
        ("diffusers.AutoencoderKL.encode", "when it was to encode a picture"),
        ("diffusers.AutoencoderKL.decode", "when it was to decode latents"),
        ("transformers.CLIPTextModelWithProjection.forward", "when it was to encode a prompt"),
        ("diffusers.SD3Transformer2DModel.from_pretrained", "when it was to load `model`"),
        ("diffusers.StableDiffusion3Pipeline.from_pretrained", "when it was to load `model`"),
        ("diffusers.StableDiffusion3Pipeline.to", "when it was to load `model`"),
    ],
)
def test_running_out_of_memory_says_when_and_what_saves_memory(
    code: str,
    when: str,
    models: Path,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(code, exhausted)
    assert edit(*common(models, photo), "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert f"cpu ran out of memory {when}" in said and "offload" in said and not list((tmp_path / "out").glob("*"))
    assert ("`size`" in said, "`quantize`" in said) == ("load" not in when, "load" in when)


def test_loading_is_strict_about_numbers() -> None:
    with pytest.raises(ValueError, match="max_sequence_length"):
        FluxParameters(max_sequence_length=True)
