"""What a save leaves behind when it is killed at any file operation, refused, or has no room; and over an earlier edit."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import deaths
from PIL import Image

from headrouter.editing.editor import Editor
from headrouter.editing.inverted_latents import InvertedLatents
from headrouter.editing.record_file import read_plain, read_record
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter.testing.toy import ToyMMDiT

PICTURES = [Image.new("RGB", (32, 32), colour) for colour in ("teal", "olive")]


def edit(picture: Image.Image, *prompts: str) -> Result:
    return Editor(ToyMMDiT(), "euler", None, progress=False).edit(picture, list(prompts), steps=1, maps=False)


@pytest.fixture(scope="module")
def edits() -> tuple[Result, Result]:
    """Three edits of one picture, and one of another."""
    return edit(PICTURES[0], "a dog", "a cat", "a cow"), edit(PICTURES[1], "a bird")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def check(folder: Path, *results: Result) -> None:
    """A record that is there is that of one of the results, with its pictures and no others beside it."""
    if not (folder / "result.json").exists():
        return
    record, images = read_record(folder), read_plain(folder / "result.json")["images"]
    (result,) = [one for one in results if one.record == record]
    wanted = {"source.png": result.source, **dict(zip(images, result.images, strict=True))}
    assert {name for name in names(folder) if name[0] != "."} == {*wanted, "result.json"}
    for name, picture in wanted.items():
        assert np.array_equal(np.asarray(Image.open(folder / name)), np.asarray(picture))


def test_killed_over_an_earlier_edit(edits: tuple[Result, Result], tmp_path: Path) -> None:
    old, new = edits

    def work(folder: Path) -> None:
        new.save(folder)

    def begin(folder: Path) -> None:
        old.save(folder)
        for number in range(3):
            PICTURES[0].save(folder / f"sheet-{number}.png")
            PICTURES[0].save(folder / f"mask-{number}.png")

    lost = 0
    for folder in deaths(tmp_path, work, begin):
        there = names(folder)
        if any(name.startswith(("sheet", "mask")) for name in there):
            assert "result.json" not in there or read_plain(folder / "result.json")["images"] == [
                "edit-0.png",
                "edit-1.png",
                "edit-2.png",
            ]
        else:
            check(folder, old, new)
        lost += "result.json" not in there
        new.save(folder)
        assert names(folder) == {"source.png", "edit-0.png", "result.json"}, "the next save clears away everything"
        check(folder, new)
    assert lost, "deaths between the old record and the new one were among them"


def test_killed_with_more_edits_and_saved_with_fewer(edits: tuple[Result, Result], tmp_path: Path) -> None:
    many, one = edits
    for folder in deaths(tmp_path, many.save):
        check(folder, many)
        one.save(folder)
        assert names(folder) == {"source.png", "edit-0.png", "result.json"}


def test_a_kept_inversion_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    tool = Editor(ToyMMDiT(), "rf", None, progress=False)
    old, new = (tool.invert(picture, steps=1) for picture in PICTURES)
    for folder in deaths(
        tmp_path, lambda folder: new.save(folder / "x.safetensors"), lambda folder: old.save(folder / "x.safetensors")
    ):
        found = InvertedLatents.load(folder / "x.safetensors").latents
        assert any(found.equal(each.latents) for each in (old, new))
        new.save(folder / "x.safetensors")
        assert names(folder) == {"x.safetensors"}


@pytest.mark.parametrize("call", range(6))
def test_a_full_disk_leaves_the_earlier_edit(
    call: int, edits: tuple[Result, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the n-th file that is to reach the disk."""
    old, new = edits
    new.save(tmp_path)
    calls = iter(range(100))
    own = os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        own(descriptor)

    monkeypatch.setattr("os.fsync", full)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if call < 5:  # source, three edits, record
        with pytest.raises(InvalidInputError, match=r"cannot write .*No space left on device"):
            old.save(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    else:
        old.save(tmp_path)
        check(tmp_path, old)


def test_reference_pictures_of_the_earlier_edit_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyMMDiT, "most_references", 3)

    def saved(*references: Image.Image) -> set[str]:
        asked = Editor(ToyMMDiT(), "instruct", None, progress=False)
        asked.edit(PICTURES[0], "a dog", references=references, steps=1, maps=False).save(tmp_path)
        return {name for name in names(tmp_path) if name[0] != "."}

    own = {"source.png", "edit-0.png", "result.json"}
    assert saved(*PICTURES) == own | {"reference-1.png", "reference-2.png"}
    (tmp_path / "reference-9.png").touch()  # of the user's
    assert saved(PICTURES[1]) == own | {"reference-1.png", "reference-9.png"}
    assert saved() == own | {"reference-9.png"}


def test_only_pictures_of_the_earlier_edit_go(edits: tuple[Result, Result], tmp_path: Path) -> None:
    """What the user put there stays, whatever its name; and a record edited by hand chooses no files."""
    old, new = edits
    old.save(tmp_path)
    for name in ("edit-3.png", "edit-1.jpg", "notes.txt", "edit-01.txt"):
        (tmp_path / name).write_text("mine")
    new.save(tmp_path)
    assert names(tmp_path) == {
        "source.png", "edit-0.png", "result.json", "edit-3.png", "edit-1.jpg", "notes.txt", "edit-01.txt",
    }  # fmt: skip
    record = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**record, "images": ["../precious.png", "notes.txt"]}))
    new.save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["edit-0.png", "source.png", "result.json"])
def test_a_folder_in_the_place_of_a_file(name: str, edits: tuple[Result, Result], tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InvalidInputError, match="a folder is in its place"):
        edits[1].save(tmp_path)
    assert names(tmp_path) == {name}


@pytest.mark.parametrize("kind", ["a file", "a dangling link", "a link to itself", "below a file"])
def test_an_output_that_is_no_folder(kind: str, edits: tuple[Result, Result], tmp_path: Path) -> None:
    place = tmp_path / "out"
    match kind:
        case "a file":
            place.write_text("mine")
        case "a dangling link":
            place.symlink_to(tmp_path / "nowhere" / "deep")
        case "a link to itself":
            place.symlink_to(place)
        case "below a file":
            place.write_text("mine")
            place = place / "deeper"
    before = names(tmp_path)
    with pytest.raises(InvalidInputError, match=r"is not writable|cannot be a path here"):
        edits[1].save(place)
    assert names(tmp_path) == before


def test_links_in_the_folder_are_replaced_and_a_link_to_a_kept_inversion_is_followed(
    edits: tuple[Result, Result], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "precious.png").write_text("mine")
    (tmp_path / "out" / "edit-0.png").symlink_to(tmp_path / "precious.png")
    edits[1].save(tmp_path / "out")
    assert (tmp_path / "precious.png").read_text() == "mine"
    check(tmp_path / "out", edits[1])
    (tmp_path / "disk").mkdir()
    (tmp_path / "kept.safetensors").symlink_to(tmp_path / "disk" / "big.safetensors")
    kept = Editor(ToyMMDiT(), "rf", None, progress=False).invert(PICTURES[0], steps=1)
    assert kept.save(tmp_path / "kept.safetensors") == tmp_path / "kept.safetensors"
    assert names(tmp_path / "disk") == {"big.safetensors"} and (tmp_path / "kept.safetensors").is_symlink()


def test_another_process_is_waited_for(edits: tuple[Result, Result], tmp_path: Path, monkeypatch: Any) -> None:
    from filelock import FileLock

    monkeypatch.setattr("headrouter.editing.saving._PATIENCE", 0.05)
    with (
        FileLock(tmp_path / ".headrouter-saving"),
        pytest.raises(InvalidInputError, match="another process is writing there"),
    ):
        edits[1].save(tmp_path)
