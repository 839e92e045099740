"""Several pictures, folders and patterns on the command line: one model, a folder each, and what fails does not end the rest."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headrouter.cli import main
from headrouter.cli.pictures import pictures_of
from headrouter.errors import InvalidInputError

from .fake import Fake, uses
from .told import contents

RNG = np.random.default_rng(0)


def draw(path: Path, width: int = 16, height: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat.png", "dog.jpg", "house 10.png", "house 2.PNG"):
        draw(tmp_path / "photos" / name)
    return tmp_path / "photos"


def edit(*arguments: Any, prompt: str = "a dog", more: tuple[str, ...] = ()) -> int:
    asked = ["edit", *map(str, arguments), "--prompt", prompt, "--backbone", "fake", "--steps", "1", *more]
    return main(asked)


def test_a_folder_is_edited_by_one_loaded_model(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(photos / "below" / "deep.png")
    draw(photos / ".hidden.png")
    (photos / "notes.txt").write_text("none")
    before = uses["loaded"]
    assert edit(photos, "-o", tmp_path / "out", "--sheet") == 0
    assert uses["loaded"] == before + 1
    out, err = capsys.readouterr()
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["cat", "dog", "house 10", "house 2"]
    assert {each.name for each in (tmp_path / "out" / "cat").iterdir()} == {
        "source.png", "edit-0.png", "result.json", "sheet-0.png",
    }  # fmt: skip
    assert "left out of" in err and "'notes.txt'" in err and "hidden" not in err
    shown = [line.split("  ")[0] for line in out.splitlines() if "edit-0" in line]
    assert [Path(line).parent.name for line in shown] == ["cat", "dog", "house 2", "house 10"], "2 comes before 10"
    assert edit(photos / "cat.png", "-o", tmp_path / "one") == 0
    one, other = (tmp_path / folder / "edit-0.png" for folder in ("one", "out/cat"))
    assert one.read_bytes() == other.read_bytes(), "as alone"
    assert main(["edit", "--from", str(tmp_path / "out" / "dog"), "-o", str(tmp_path / "again")]) == 0


def test_pictures_of_one_size_share_calls_where_rows_have_room(photos: Path, tmp_path: Path) -> None:
    draw(photos / "a wide one.png", 32, 16)
    calls = []
    for rows, folder in (((), "alone"), (("--max-rows", "2"), "two"), (("--max-rows", "5"), "five")):
        before = uses["evaluated"]
        assert edit(photos, "-o", tmp_path / folder, more=rows) == 0
        calls.append(uses["evaluated"] - before)
    alone, two, five = calls
    assert alone == two == 5 * (alone // 5) and five == 3 * (alone // 5), "the wide one, and twice two of a size"
    for name in ("a wide one", "cat", "dog", "house 10", "house 2"):
        one, other = (np.asarray(Image.open(tmp_path / folder / name / "edit-0.png")) for folder in ("alone", "five"))
        assert np.abs(one.astype(int) - other).max() <= 1
    assert main(["edit", "--from", str(tmp_path / "five" / "dog"), "-o", str(tmp_path / "again")]) == 0


def test_what_fails_together_is_edited_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    velocity = Fake.velocity

    def small(self: Fake, latents: Any, sigma: float, rows: Any) -> Any:
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return velocity(self, latents, sigma, rows)

    monkeypatch.setattr(Fake, "velocity", small)
    assert edit(photos, "-o", tmp_path / "out", more=("--max-rows", "8")) == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["cat", "dog", "house 10", "house 2"]


@pytest.mark.parametrize("pattern", ["*.png", "c*", "**/*.png", "[ch]*.png", "?at.png"])
def test_a_pattern_that_no_shell_expanded(pattern: str, photos: Path, tmp_path: Path) -> None:
    assert edit(photos / pattern, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "cat" / "result.json").exists()


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    assert edit(draw(tmp_path / "photo[1].png"), "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "edit-0.png").exists(), "one file, as ever"


def test_a_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "photos" / "half\udcff.png")
    draw(tmp_path / "photos" / "\x1b[31mred.png")
    assert edit(tmp_path / "photos", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "half\udcff" / "result.json").exists()


def test_one_that_fails_does_not_end_the_rest(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    draw(photos / "strip.png", 16, 400)
    draw(photos / "strip too.png", 16, 400)
    os.mkfifo(photos / "pipe.png")
    assert edit(photos, photos / "nowhere.png", "-o", tmp_path / "out") == 2
    out, err = capsys.readouterr()
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["cat", "dog", "house 10", "house 2"]
    assert len([line for line in out.splitlines() if "edit-0.png" in line]) == 4
    said = [line for line in err.splitlines() if line.startswith("headrouter: ")]
    assert said[-1] == "headrouter: 5 of 9 pictures could not be edited."
    assert all(any(name in line for line in said) for name in ("broken", "strip.png", "strip too", "pipe", "nowhere"))
    assert "Traceback" not in err


def test_none_that_can_be_edited_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no")
    assert edit(tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out") == 2
    assert "none of 2 pictures could be edited" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more", [("--preset", "nope"), ("--keep", "3"), ("--size", "17x16"), ("--model", "nope"), ("--set", "method.x=1")]
)
def test_what_is_wrong_for_all_is_said_once_or_twice(
    more: tuple[str, ...], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = uses["evaluated"]
    assert edit(photos, "-o", tmp_path / "out", more=more) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("headrouter: ")]
    assert 1 <= len(said) <= 2, said
    assert not (tmp_path / "out").exists() and uses["evaluated"] == before


def test_names_do_not_collide(tmp_path: Path) -> None:
    names = ["a/cat.png", "a/Cat.jpg", "b/cat.png", "b/dog.png", "b/dog.jpg", "c/dog.png.png", "c/cat.png-1.png"]
    names += ["c/caf\u00e9.png", "d/cafe\u0301.png", "d/only.png"]
    paths = [draw(tmp_path / name) for name in names]
    found = pictures_of([str(path) for path in paths])
    assert list(found.values()) == paths and len({name.casefold() for name in found}) == len(paths)
    assert found["only"] == paths[-1] and not any("/" in name for name in found)
    assert list(pictures_of([str(paths[3]), str(paths[4])])) == ["dog.png", "dog.jpg"]
    assert len(pictures_of([str(tmp_path / "b"), str(paths[2])])) == 3, "the same file twice is one"


@pytest.mark.parametrize("given", ["empty", "empty/*.png", "empty/[a", "text"])
def test_folders_and_patterns_without_pictures_are_refused(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("none")
    before = contents(tmp_path)
    if given != "empty/[a":
        with pytest.raises(InvalidInputError, match=r"folder without pictures|matches no file"):
            pictures_of([str(tmp_path / given)])
    assert edit(tmp_path / given, "-o", tmp_path / "out") == 2
    assert "`image`" in capsys.readouterr().err
    assert contents(tmp_path) == before
