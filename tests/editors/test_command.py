"""A program of the user's own as an editor: no shell, a time limit, and failures in a sentence."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from headrouter_editors.command import Command, CommandError
from PIL import Image

from headrouter.config.configuration import validate
from headrouter.errors import InvalidInputError
from headrouter.experiments.other_editor import EditRequest

HOST = torch.device("cpu")
PICTURE = Image.new("RGB", (20, 16), (10, 20, 30))
ASKED = EditRequest(PICTURE, "a cat", "a dog; touch x $(touch x) {seed} 'y", "make it a dog", 7)
PROGRAM = """
import json, sys
from PIL import Image
picture, output, *words = sys.argv[1:]
Image.open(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(output)
json.dump(words, open("WORDS", "w"))
"""


def program(folder: Path, text: str) -> str:
    path = folder / "edit.py"
    path.write_text(text.replace("WORDS", str(folder / "words.json")))
    return f"'{sys.executable}' '{path}' {{picture}} {{output}}"


def test_every_value_is_one_argument_whatever_is_in_it(tmp_path: Path) -> None:
    command = program(tmp_path, PROGRAM) + " --to={prompt} {seed} '{{}}' {instruction}"
    editor = Command(command=command)  # type: ignore[arg-type]
    edit = editor.load(HOST)(ASKED)
    assert edit.size == PICTURE.size and np.array_equal(edit, PICTURE)
    words = (tmp_path / "words.json").read_text()
    assert words == '["--to=' + ASKED.prompt + '", "7", "{}", "make it a dog"]'
    assert editor.needs == {"instruction"} and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; print('no memory', file=sys.stderr); sys.exit(3)", "ended with 3: no memory"),
        ("", "ended well, and left no picture"),
        ("import sys; open(sys.argv[2], 'w').write('x')", "edit.png"),
    ],
)
def test_a_failure_is_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises((CommandError, InvalidInputError), match=said):
        Command(command=program(tmp_path, text)).load(HOST)(ASKED)  # type: ignore[arg-type]


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    text = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2); open({str(tmp_path / "late")!r}, 'w')"])
time.sleep(60)
"""
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"took more than 0\.5 seconds, and was ended"):
        Command(command=program(tmp_path, text), timeout=0.5).load(HOST)(ASKED)  # type: ignore[arg-type]
    assert time.monotonic() - began < 30
    time.sleep(2.5)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("edit {picture} {outptu}", r"unknown place \{outptu\}; did you mean \{output\}"),
        ("edit {picture} {output} {seed:05d}", r"unknown place \{seed:05d\}"),
        ("edit {picture.__class__} {output}", "unknown place"),
        ("edit {output}", r"must have the place \{picture\}"),
        ("edit {picture} {output} {", "brace that stands alone"),
        ("edit 'x", "cannot be split"),
        ("", "at least 1 item"),
    ],
)
def test_a_template_that_cannot_be_met_is_refused(command: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"`command`.*{said}"):
        validate(Command, {"command": command})


def test_a_program_that_is_not_there_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidInputError, match="there is no program 'no-such-program'"):
        Command(command=("no-such-program", "{picture}", "{output}")).check()


def test_another_program_or_version_is_another_revision(tmp_path: Path) -> None:
    command = program(tmp_path, PROGRAM)
    before = Command(command=command).revision  # type: ignore[arg-type]
    assert before == Command(command=command).revision != Command(command=command, version="2").revision  # type: ignore[arg-type]
    program(tmp_path, PROGRAM + "#")
    assert Command(command=command).revision != before  # type: ignore[arg-type]
