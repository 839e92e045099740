"""The list of a pipeline's files: what it refuses, and what it leaves alone."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from headrouter.errors import InvalidInputError, WeightsError
from headrouter.models.checksums import CHECKSUMS, refuse_changed, write_checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "vae").mkdir(parents=True)
    (place / "model_index.json").write_text("{}")
    (place / "vae" / "config.json").write_text("[1]")
    write_checksums(place)
    return place


def _line(folder: Path, text: str) -> None:
    path = folder / CHECKSUMS
    path.write_text(text + path.read_text())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda place: (place / "vae" / "config.json").write_text("[2]"), "has another vae/config.json than its"),
        (lambda place: (place / "vae" / "config.json").unlink(), "has no vae/config.json, which its"),
        (lambda place: shutil.rmtree(place / "vae"), "has no vae/config.json, which its"),
        (lambda place: (place / "model_index.json").write_text("{ }"), "has another model_index.json than its"),
        (
            lambda place: (place / "vae" / "added.json").touch(),
            "has vae/added.json, which its checksums.sha256 does not",
        ),
        (lambda place: _line(place, "rubbish\n"), "has a damaged checksums.sha256: line 1 is no sum"),
        (lambda place: (place / CHECKSUMS).write_bytes(b"\xff" * 99), "has a damaged checksums.sha256: line 1 is no"),
        (lambda place: (place / CHECKSUMS).write_text(""), "has vae/config.json, which its checksums.sha256 does not"),
    ],
    ids=["changed", "missing", "a missing part", "index", "added", "another line", "no text", "an empty list"],
)
def test_a_folder_that_changed_is_refused_with_the_file_and_the_way_out(
    folder: Path, change: Callable[[Path], object], said: str
) -> None:
    refuse_changed("it", folder)
    change(folder)
    with pytest.raises(WeightsError) as refused:
        refuse_changed("it", folder)
    assert str(refused.value).startswith(f"`model` 'it' {said}")
    assert "Restore the folder: install or fetch it again" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "README.md").touch(),
        lambda place: (place / ".cache").mkdir(),
        lambda place: (place / "vae" / ".DS_Store").touch(),
        lambda place: (place / CHECKSUMS).unlink(),
    ],
    ids=["a file beside the parts", "a hidden folder", "a hidden file", "no list"],
)
def test_what_no_loader_reads_may_be_there(folder: Path, change: Callable[[Path], object]) -> None:
    change(folder)
    refuse_changed("it", folder)


def test_a_list_that_is_a_folder(folder: Path) -> None:
    (folder / CHECKSUMS).unlink()
    (folder / CHECKSUMS).mkdir()
    with pytest.raises(InvalidInputError, match=CHECKSUMS):
        refuse_changed("it", folder)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="the system has no sha256sum")
def test_the_list_is_that_of_sha256sum(folder: Path) -> None:
    command = ["sha256sum", "model_index.json", "vae/config.json"]
    assert (
        subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout == (folder / CHECKSUMS).read_bytes()
    )
    binary = subprocess.run([command[0], "--binary", *command[1:]], cwd=folder, capture_output=True, check=True).stdout
    (folder / CHECKSUMS).write_bytes(binary)
    refuse_changed("it", folder)


@pytest.mark.parametrize("change", [lambda line: line.replace("  ", "  ./"), lambda line: f"{line}\r"])
def test_names_as_find_writes_them_and_line_ends_of_other_systems(folder: Path, change: Callable[[str], str]) -> None:
    lines = (folder / CHECKSUMS).read_text().splitlines()
    (folder / CHECKSUMS).write_bytes("".join(f"{change(line)}\n" for line in lines).encode())
    refuse_changed("it", folder)
    (folder / "vae" / "config.json").write_text("[2]")
    with pytest.raises(WeightsError, match=r"has another vae/config\.json than its"):
        refuse_changed("it", folder)
