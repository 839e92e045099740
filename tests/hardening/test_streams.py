"""Output that cannot be written, of every command: a sentence and an exit code, never a traceback."""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headrouter.cli import build_parser, main

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def commands() -> list[list[str]]:
    """The help of every command and of what is below it."""

    def below(parser: argparse.ArgumentParser, words: list[str]) -> list[list[str]]:
        parts = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        return [[*words, "--help"]] + [
            each for part in parts for name, inner in part.choices.items() for each in below(inner, [*words, name])
        ]

    return below(build_parser(), [])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray((np.random.default_rng(0).random((16, 16, 3)) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def working(photo: Path) -> list[list[str]]:
    model = ["--backbone", "fake", "--no-progress", "--steps", "1"]
    return [
        ["plugins"],
        ["plugins", "--json"],
        ["presets"],
        ["doctor", "--json"],
        ["edit", str(photo), "--prompt", "a dog", *model, "-o", str(photo.parent / "out")],
        ["reconstruct", str(photo), "--inversion", "euler", *model],
        ["plugins", "new", "acme", "-o", str(photo.parent / "new")],
    ]


class Full(io.TextIOWrapper):
    """A stream on a disk without room."""

    def __init__(self, through: bool) -> None:
        super().__init__(Path("/dev/full").open("wb", buffering=0 if through else -1), write_through=through)  # noqa: SIM115


@pytest.mark.parametrize("through", [False, True], ids=["buffered", "unbuffered"])
def test_a_disk_without_room(photo: Path, through: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    helped = [*commands(), ["--version"]]
    assert len(helped) > 15
    asked = (
        working(photo) if through else [*helped, *working(photo)]
    )  # argparse itself drops what it cannot write at once
    for arguments in asked:
        out, err = Full(through), io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = main(arguments)
        out.close()
        assert code == 2, arguments
        assert "headrouter: the output cannot be written: No space left on device.\n" in err.getvalue()
    assert (photo.parent / "out" / "result.json").exists(), "the work was done before"


def test_streams_that_are_closed(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in [*commands(), *working(photo)]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", None)
            patch.setattr(sys, "stderr", None)
            assert main(arguments) == 0, arguments
            opened: list[Any] = [sys.stdout, sys.stderr]
        for stream in opened:
            stream.close()


def test_errors_that_cannot_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["edit"], ["edit", "nowhere.png", "--prompt", "a dog"], ["no-such-command"]):
        err = Full(False)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", err)
            assert main(arguments) == 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), err.fileno())
        err.close()


def test_another_error_of_the_system_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(arguments: object) -> int:
        raise OSError(28, "No space left on device", "file")

    monkeypatch.setattr("headrouter.cli.commands.presets.run", fails)
    with pytest.raises(OSError, match="file"):
        main(["presets"])


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>&-", ">&- 2>&-"])
def test_as_a_program(redirection: str) -> None:
    line = f"'{sys.executable}' -m headrouter.cli plugins --json {redirection}"
    finished = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == (2 if "full" in redirection else 0)
    assert "Traceback" not in finished.stderr
    assert "Exception ignored" not in finished.stderr
