"""``headrouter reconstruct`` end to end on a tiny pipeline in a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headrouter_diffusers.testing import tiny_sd35
from PIL import Image

from headrouter.cli import main
from headrouter.imaging.measure import ssim
from headrouter.imaging.picture import psnr

ALL = ["euler", "fireflow", "flowedit", "rf", "rf-sde", "rf-solver", "sdedit"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sd3.5"
    tiny_sd35().save_pretrained(folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = (np.random.default_rng(0).random((32, 48, 3)) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def reconstruct(*arguments: Any) -> int:
    return main(["reconstruct", "--no-progress", *map(str, arguments)])


def table_of(printed: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in printed.splitlines()[2:]}


def test_every_trajectory_side_by_side(
    model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [photo, "--model", model, "--source", "a cat", "--steps", 4, "--size", "48x32"]
    assert reconstruct(*arguments, "-o", out) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    table = table_of(printed.out)
    assert sorted(table) == ALL
    calls = {"euler": 8, "rf": 8, "rf-sde": 8, "rf-solver": 16, "fireflow": 10, "flowedit": 3, "sdedit": 3}
    assert {name: int(row[2]) for name, row in table.items()} == calls
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}.png" for name in ALL)
    for name, row in table.items():
        picture, original = Image.open(out / f"{name}.png"), Image.open(photo)
        assert float(row[0]) == pytest.approx(psnr(picture, original), abs=0.006)
        assert float(row[1]) == pytest.approx(ssim(picture, original), abs=0.00006)


def test_chosen_trajectories_in_their_order_once(model: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [photo, "--model", model, "--steps", 2, "--size", "48x32"]
    assert reconstruct(*arguments, "--inversion", "rf", "--inversion", "euler", "--inversion", "rf") == 0
    assert list(table_of(capsys.readouterr().out)) == ["rf", "euler"]


WRONG: dict[str, tuple[list[Any], str]] = {
    "no picture": (["nowhere.png"], "cannot read `image` 'nowhere.png'"),
    "no such inversion": (["PHOTO", "--inversion", "fierflow"], "Did you mean 'fireflow'"),
    "no such backbone": (["PHOTO", "--backbone", "sd4"], "unknown backbone 'sd4'"),
    "steps": (["PHOTO", "--model", "MODEL", "--steps", 0], "`steps`: Input should be greater"),
    "size": (["PHOTO", "--model", "MODEL", "--size", "big"], "must look like 1024x768"),
    "size that does not fit": (["PHOTO", "--model", "MODEL", "--size", "48x30"], "multiples of 8 pixels"),
    "guidance": (["PHOTO", "--model", "MODEL", "--guidance", -1], "`guidance`: Input should be"),
    "output": (["PHOTO", "--model", "MODEL", "-o", "PHOTO"], "not writable"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(
    case: str, model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = WRONG[case]
    assert reconstruct(*({"PHOTO": photo, "MODEL": model}.get(one, one) for one in arguments)) == 2
    said = capsys.readouterr()
    assert expected in said.err and "Traceback" not in said.err and said.out == ""
