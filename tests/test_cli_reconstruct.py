"""``headrouter reconstruct`` end to end on a tiny pipeline in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import photo_in, sd35_in
from headrouter_inversions.sdedit import SDEdit
from PIL import Image

from headrouter import plugins
from headrouter.cli import main
from headrouter.imaging.measure import ssim
from headrouter.imaging.picture import psnr
from headrouter.plugins.specifications import InversionSpec, hookimpl

ALL = ["directedit", "euler", "fireflow", "flowedit", "rf", "rf-sde", "rf-solver", "sdedit"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sd35_in(tmp_path_factory.mktemp("models"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return photo_in(tmp_path)


def reconstruct(*arguments: Any) -> int:
    return main(["reconstruct", "--no-progress", *map(str, arguments)])


def table_of(printed: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in printed.splitlines()[2:]}


def test_every_inversion_side_by_side(
    model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [photo, "--model", model, "--source", "a cat", "--steps", 4, "--size", "48x32"]
    assert reconstruct(*arguments, "-o", out) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    table = table_of(printed.out)
    assert sorted(table) == ALL
    calls = {
        "directedit": 8,
        "euler": 8,
        "rf": 8,
        "rf-sde": 8,
        "rf-solver": 16,
        "fireflow": 10,
        "flowedit": 3,
        "sdedit": 3,
    }
    assert {name: int(row[2]) for name, row in table.items()} == calls
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}.png" for name in ALL)
    for name, row in table.items():
        picture, original = Image.open(out / f"{name}.png"), Image.open(photo)
        assert float(row[0]) == pytest.approx(psnr(picture, original), abs=0.006)
        assert float(row[1]) == pytest.approx(ssim(picture, original), abs=0.00006)


def test_chosen_inversions_in_their_order_once(model: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [photo, "--model", model, "--steps", 2, "--size", "48x32"]
    assert reconstruct(*arguments, "--inversion", "rf", "--inversion", "euler", "--inversion", "rf") == 0
    assert list(table_of(capsys.readouterr().out)) == ["rf", "euler"]


def test_operators_that_compare_with_no_source_act(
    model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [photo, "--model", model, "--steps", 3, "--size", "48x32", "--inversion", "euler", "--source", "a cat"]
    found = []
    for operator in ([], ["--operator", "none"], ["--operator", "pmi"]):
        assert reconstruct(*arguments, *operator) == 0
        found.append(table_of(capsys.readouterr().out)["euler"][:3])
    assert found[0] == found[1] != found[2]


WRONG: dict[str, tuple[list[Any], str]] = {
    "no picture": (["nowhere.png"], "cannot read `image` 'nowhere.png'"),
    "no such inversion": (["PHOTO", "--inversion", "fierflow"], "Did you mean 'fireflow'"),
    "no such backbone": (["PHOTO", "--backbone", "sd4"], "unknown backbone 'sd4'"),
    "steps": (["PHOTO", "--model", "MODEL", "--steps", 0], "`steps`: Input should be greater"),
    "size": (["PHOTO", "--model", "MODEL", "--size", "big"], "must look like 1024x768"),
    "size that does not fit": (["PHOTO", "--model", "MODEL", "--size", "48x30"], "multiples of 8 pixels"),
    "guidance": (["PHOTO", "--model", "MODEL", "--guidance", -1], "`guidance`: Input should be"),
    "output": (["PHOTO", "--model", "MODEL", "-o", "PHOTO"], "not writable"),
    "operator that compares": (["PHOTO", "--operator", "gate"], "`--operator` 'gate' would have no effect"),
    "operator that inverts": (
        ["PHOTO", "--operator", "pmi", "--inversion", "sdedit"],
        "inversion` 'sdedit' inverts nothing",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(
    case: str, model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = WRONG[case]
    assert reconstruct(*({"PHOTO": photo, "MODEL": model}.get(one, one) for one in arguments)) == 2
    said = capsys.readouterr()
    assert expected in said.err and "Traceback" not in said.err and said.out == ""


class _Odd:
    """Two inversions: one asks for what no model provides, one fails in the middle."""

    headrouter_api = 1

    @hookimpl
    def register_inversions(self, register: Callable[[InversionSpec], None]) -> None:
        register(InversionSpec("a-demanding-one", f"{__name__}:Demanding"))
        register(InversionSpec("b-failing-one", f"{__name__}:Failing"))


class Demanding(SDEdit):  # type: ignore[misc]
    """Needs what no model provides."""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"magic"})


class Failing(SDEdit):  # type: ignore[misc]
    """Fails."""

    def initial_state(self, *_: Any) -> Any:
        raise ZeroDivisionError("divided by nothing")


def test_of_all_inversions_those_that_cannot_are_left_out(
    model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.register(_Odd(), name="odd")
    arguments = [photo, "--model", model, "--steps", 1, "--size", "48x32"]
    try:
        assert reconstruct(*arguments) == 0
        said = capsys.readouterr()
        assert reconstruct(*arguments, "--inversion", "euler", "--inversion", "a-demanding-one") == 2
    finally:
        plugins.reload()
    assert sorted(table_of(said.out)) == ALL
    assert [line.split(" is left out: ")[0] for line in said.err.splitlines()] == [
        "headrouter: runtime:a-demanding-one",
        "headrouter: runtime:b-failing-one",
    ]
    assert "needs magic" in said.err and "divided by nothing" in said.err and "Traceback" not in said.err
    refused = capsys.readouterr()
    assert "needs magic" in refused.err and refused.out == ""
