"""``headrouter edit --method injection --method local-blend`` on a tiny pipeline, and what it says when something is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import photo_in, sd35_in
from PIL import Image

from headrouter.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sd35_in(tmp_path_factory.mktemp("models"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return photo_in(tmp_path)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def edit(model: Path, photo: Path, *more: Any) -> int:
    asked = ["--model", model, "--source", "a red cat", "--prompt", "a red dog", "--steps", 3, "--size", "48x32"]
    methods = ["--method", "injection", "--method", "local-blend", "--inversion", "euler"]
    return main(["edit", "--no-progress", *map(str, [photo, *asked, *methods, *more])])


def test_both_methods_with_their_parameters_and_again(model: Path, photo: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.arange(48)[None].repeat(32, 0).astype(np.uint8) // 24 * 255).save(mask)
    for more, words in (
        (["method.1.mask=words(blocks=[0, 1], target_words='dog')"], ["dog"]),
        ([f"method.1.mask={mask}"], None),
    ):
        chosen = ["method.0.replace=[I2I, qk]", "method.0.tau=2", *more]
        sets = [text for one in chosen for text in ("--set", one)]
        assert edit(model, photo, *sets, "-o", tmp_path / "out") == 0
        record = json.loads((tmp_path / "out" / "result.json").read_text())
        first, second = record["methods"]
        assert (first["name"], first["replace"], first["tau"]) == ("injection", ["I2I", "qk"], 2)
        assert (second["name"], second["mask"].get("target_words")) == ("local-blend", words)
        assert pixels(tmp_path / "out" / "mask-0.png").shape == (32, 48)
        if words is None:
            mask.unlink()
        assert main(["edit", "--no-progress", "--from", str(tmp_path / "out"), "-o", str(tmp_path / "again")]) == 0
        for name in ("edit-0.png", "mask-0.png"):
            one, other = (pixels(tmp_path / folder / name) for folder in ("out", "again"))
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["method.1.mask=words(blocks=[0], target_words='fox')"],
            "`mask.target_words` 'fox' is not in the prompt 'a red dog'",
        ),
        (["method.1.mask=words(blocks=[0])", "method.0.blocks=[9]"], "`method.blocks` [9] do not exist"),
        ([], "this model has no ranking of blocks"),
        (["method.0.replace=I3I"], "`method.0.replace`: "),
        (["method.1.mask=MASK", "method.1.top=2", "method.1.blocks=[0]"], "`mask` leaves no use for `blocks`"),
        (["method.1.mask=words &"], "cannot be read: join masks by '|' (union)"),
    ],
)
def test_what_is_wrong_is_said(
    sets: list[str], message: str, model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (32, 24), 255).save(tmp_path / "mask.png")
    given = [text.replace("MASK", str(tmp_path / "mask.png")) for one in sets for text in ("--set", one)]
    assert edit(model, photo, *given, "-o", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_mask_of_another_size(model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.eye(32, 47, dtype=bool)).save(tmp_path / "mask.png")
    assert edit(model, photo, "--set", f"method.1.mask={tmp_path / 'mask.png'}", "-o", tmp_path / "out") == 2
    assert "must have the size of the picture, 48x32 pixels, got 47x32" in capsys.readouterr().err
