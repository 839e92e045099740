"""Edits run again from their records: on the same weights, wherever they lie, or refused with the reason."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import PICTURE
from headrouter_diffusers.testing import tiny_sd35
from PIL import Image

from headrouter import Editor, replay
from headrouter.cli import main
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError, UnknownNameError, WeightsError
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.word_maps import WordMaps
from headrouter.plugins import register, reload
from headrouter.plugins.specifications import MethodSpec, hookimpl


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home-of-somebody") / "sd3.5"
    tiny_sd35().save_pretrained(folder)
    return folder


def made(model: Path, method: Any = None, **values: Any) -> Result:
    editor = Editor("sd3.5", "euler", method, model=str(model), progress=False)
    return editor.edit(PICTURE, "a dog", steps=1, size=(48, 32), **values)


def rewritten(folder: Path, **changes: Any) -> Path:
    record = json.loads((folder / "result.json").read_text())
    record.update(changes)
    (folder / "result.json").write_text(json.dumps(record))
    return folder


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_other_weights_at_the_same_path_are_refused(model: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(model, tmp_path / "model")
    result = made(moved)
    result.save(tmp_path / "out")
    assert same(replay(tmp_path / "out", progress=False).image, result.image)
    other = tiny_sd35()
    with torch.no_grad():
        other.transformer.proj_out.bias += 0.1
    other.save_pretrained(moved)
    with pytest.raises(WeightsError, match=r"holds other weights .* Say with `model` where those are"):
        replay(tmp_path / "out", progress=False)


def test_the_same_weights_elsewhere_are_said_with_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(model, tmp_path / "model")
    result = made(moved)
    result.save(tmp_path / "out")
    shutil.rmtree(moved)
    command = ["edit", "--from", tmp_path / "out", "--no-progress", "-o", tmp_path / "again"]
    assert main([*map(str, command)]) == 2
    assert main([*map(str, command), "--model", str(model)]) == 0
    assert same(Image.open(tmp_path / "again" / "edit-0.png"), result.image)


def test_another_precision_is_no_other_weights(model: Path, tmp_path: Path) -> None:
    made(model).save(tmp_path / "out")
    replay(tmp_path / "out", progress=False, dtype="bfloat16")
    with pytest.raises(WeightsError, match="Rounding to float16 makes other weights, too: `dtype` was 'auto'"):
        replay(tmp_path / "out", progress=False, dtype="float16")


def test_no_path_that_the_user_did_not_give(model: Path, tmp_path: Path) -> None:
    """A model object is told by its class; bundled weights by their short name."""
    loaded = Editor("sd3.5", "euler", None, model=str(model), progress=False)
    result = Editor(loaded.backbone, "euler", None, progress=False).edit(PICTURE, "a dog", steps=1, size=(48, 32))
    text = (result.save(tmp_path / "out") / "result.json").read_text()
    assert "somebody" not in text and str(tmp_path) not in text and str(Path.home()) not in text
    backbone = json.loads(text)["backbone"]
    assert (backbone["name"], backbone["class"], backbone["model"]) == (None, "SD3Backbone", None)
    with pytest.raises(InvalidInputError, match="made with a model object"):
        replay(tmp_path / "out")


@pytest.mark.parametrize("maps", [True, False])
def test_word_maps_that_were_asked_for_are_asked_for_again(maps: bool, model: Path, tmp_path: Path) -> None:
    """And those that come by default are not asked for twice."""
    result = made(model, [WordMaps(), "headrouter"], maps=maps)
    again = replay(result.save(tmp_path / "out"), progress=False)
    assert [part.name for part in again.record.methods] == ["maps", "headrouter"]
    assert torch.equal(again.text_map("dog"), result.text_map("dog"))
    default = replay(made(model, "headrouter").save(tmp_path / "default"), progress=False)
    assert [part.name for part in default.record.methods] == ["headrouter"] and default.has("text_maps")


def test_the_preset_stays_known(model: Path, tmp_path: Path) -> None:
    folder = made(model, "headrouter", preset="paper").save(tmp_path / "out")
    assert replay(folder, progress=False).record.preset == "paper"


class Nothing(Method):
    """Steers nothing, and is registered under no name."""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        return _Run()


class _Run(MethodRun):
    def needs(self, step: int) -> Needs:
        return Needs()

    def diagnostics(self) -> dict[str, torch.Tensor]:
        return {}


class Plugin:
    headrouter_api = 1

    @hookimpl
    def register_methods(self, register: Any) -> None:
        register(MethodSpec("nothing", f"{Nothing.__module__}:Nothing", summary="Nothing."))


def test_a_method_that_is_not_registered_is_named_by_its_class(model: Path, tmp_path: Path) -> None:
    folder = made(model, Nothing()).save(tmp_path / "out")
    record = json.loads((folder / "result.json").read_text())
    assert record["methods"] == [{"name": None, "class": f"{__name__}:Nothing"}]
    with pytest.raises(InvalidInputError, match=rf"with the method '{__name__}:Nothing', which no installed plug-in"):
        replay(folder, progress=False)
    register(Plugin(), name="nothing")
    try:
        assert replay(folder, progress=False).record.methods[0].name.endswith("nothing")
    finally:
        reload()


def test_a_class_called_as_a_registered_name_is_not_taken_for_it(model: Path, tmp_path: Path) -> None:
    headrouter = type("HeadRouter", (Nothing,), {"__module__": __name__})
    folder = made(model, headrouter()).save(tmp_path / "out")
    with pytest.raises(InvalidInputError, match="HeadRouter', which no installed plug-in registers"):
        replay(folder, progress=False)


def test_a_part_that_is_not_installed_is_named(model: Path, tmp_path: Path) -> None:
    folder = rewritten(made(model).save(tmp_path / "out"), methods=[{"name": "acme:magic"}])
    with pytest.raises(UnknownNameError, match=r"needs a part that is not installed here: unknown method 'acme:magic'"):
        replay(folder)


EDITED: dict[str, tuple[dict[str, Any], str]] = {
    "a path that leads out": ({"source": {"file": "../source.png", "sha256": ""}}, "beside the record"),
    "an absolute path": ({"source": {"file": "/etc/passwd", "sha256": ""}}, "beside the record"),
    "a path of Windows": ({"source": {"file": "C:x.png", "sha256": ""}}, "beside the record"),
    "the folder above": ({"source": {"file": "..", "sha256": ""}}, "beside the record"),
    "no name": ({"source": {"file": "", "sha256": ""}}, "beside the record"),
    "a number for text": ({"source": {"file": 3, "sha256": ""}}, "valid string"),
    "a class": ({"methods": [{"name": None, "class": "os:system"}]}, "'os:system', which no installed plug-in"),
    "a class for a name": ({"methods": [{"name": "os:system"}]}, "unknown method 'os:system'"),
    "parts of text": ({"methods": "headrouter"}, "`methods`: Input should be a valid tuple"),
    "a parameter of nobody": ({"inversion": {"name": "euler", "x": 1}}, "is damaged: `x`: unknown name"),
    "NaN": ({"inversion": {"name": "rf", "eta": float("nan")}}, "is damaged: `eta`"),
    "rows": ({"max_rows": 1}, "is damaged: `max_rows`"),
    "weights that are none": ({"weights": None}, "is damaged: `weights`"),
    "weights of a list": ({"weights": [1]}, "is damaged: `weights`"),
    "a later format": ({"headrouter": {"format": 5}}, "has format 5"),
    "a format of True": ({"headrouter": {"format": True}}, "has format True"),
    "a device": ({"backbone": {"name": "sd3.5", "model": "x", "dtype": 5}}, "is damaged: `dtype`"),
}
EDIT: dict[str, Any] = {
    "steps": 10**9, "guidance": float("inf"), "seed": -1, "size": [10**9, 16], "prompt": [], "maps": 1, "source_prompt": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(model).save(tmp_path_factory.mktemp("saved"))


@pytest.mark.parametrize("case", EDITED)
def test_a_record_edited_by_hand_is_refused_before_a_model_loads(
    case: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, message = EDITED[case]
    monkeypatch.setattr("headrouter.editing.replay.Editor", lambda *_, **__: pytest.fail("a model was loaded"))
    folder = rewritten(shutil.copytree(saved, tmp_path / "out"), **changes)
    with pytest.raises((InvalidInputError, UnknownNameError)) as refused:
        replay(folder)
    assert message in str(refused.value)


@pytest.mark.parametrize("field", EDIT)
def test_numbers_edited_by_hand_are_refused(
    field: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrouter.editing.replay.Editor", lambda *_, **__: pytest.fail("a model was loaded"))
    folder = shutil.copytree(saved, tmp_path / "out")
    record = json.loads((folder / "result.json").read_text())
    rewritten(folder, edit={**record["edit"], field: EDIT[field]})
    with pytest.raises(InvalidInputError, match=rf"is damaged: `edit\.{field}"):
        replay(folder)


def test_another_picture_is_refused_before_a_model_loads(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrouter.editing.replay.Editor", lambda *_, **__: pytest.fail("a model was loaded"))
    folder = shutil.copytree(saved, tmp_path / "out")
    Image.new("RGB", (48, 32)).save(folder / "source.png")
    with pytest.raises(InvalidInputError, match="is not the picture that was edited"):
        replay(folder)


def test_a_record_is_read_without_warnings(saved: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert replay(saved, progress=False).images
