"""Something else than a file where files go, or are read: it is refused in a sentence, at once, and stays as it was."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from headrouter_shapes.claim import claimed

from headrouter.config.yaml_document import read_yaml
from headrouter.editing.saving import save_together
from headrouter.errors import InvalidInputError
from headrouter.models.known_models import known_defaults
from headrouter.models.weights import find_weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pipes or devices in folders")

KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "a device or a pipe"),
    "device": (lambda path: path.symlink_to("/dev/full"), "a device or a pipe"),
    "folder": (lambda path: path.mkdir(), "a folder"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
}


def claim(folder: Path) -> None:
    with claimed(folder):
        pass


def save(folder: Path) -> None:
    save_together(folder, {"edit-0.png": b"", "result.json": b"{}"}, (1, 0))


USES: dict[str, Callable[[Path], object]] = {
    ".in-use": claim,
    ".headrouter-saving": save,
    ".headrouter-count": save,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", USES)
def test_what_is_no_file_is_not_opened(place: str, kind: str, tmp_path: Path) -> None:
    make, name = KINDS[kind]
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    before = path.lstat()
    with pytest.raises(
        InvalidInputError, match=rf"{path.name}' must be a file, or not be there yet \(got {name}\)\. Move"
    ):
        USES[place](tmp_path)
    assert path.lstat().st_ino == before.st_ino and not (tmp_path / "nowhere").exists()


def test_a_count_of_edits_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("notes")
    (tmp_path / ".headrouter-count").symlink_to("precious")
    save(tmp_path)
    assert (tmp_path / "precious").read_text() == "notes"


def test_pipes_that_are_read_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.yaml")
    with pytest.raises(InvalidInputError, match=r"study.yaml': it is a device or a pipe"):
        read_yaml(tmp_path / "study.yaml")
    os.mkfifo(tmp_path / "model_index.json")
    assert find_weights(str(tmp_path)).state == "incomplete"
    assert known_defaults("sd3", str(tmp_path)) is None
