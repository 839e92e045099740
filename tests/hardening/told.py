"""What a user is told, and what is left behind: the properties that every case is held to."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrouter.cli import main
from headrouter.errors import HeadRouterError

LONGEST = 4_000
"""Characters of a message, with the usage before it where there is one."""
_UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_COMPLETE = re.compile(r"source\.png|result\.json|edit-\d+\.png|sheet-\d+\.png")


def refused(call: Callable[[], Any]) -> tuple[str, Any]:
    """The sentence with which a call is refused and None, or "" and what it gives. Anything else raised is a defect."""
    try:
        return "", call()
    except HeadRouterError as error:
        check_sentence(str(error))
        return str(error), None


def check_sentence(text: str) -> None:
    assert text.strip(), "refused without a word"
    assert len(text) <= LONGEST, f"{len(text)} characters: {text[:200]}"
    assert "Traceback" not in text


def command(*arguments: Any, output: Path | None = None) -> tuple[int, str]:
    """Run the command line; its exit code, and what it says on stderr, held to what a user must be told.

    With ``output``, what is in that folder afterwards is what was there before, or complete.
    """
    before = contents(output) if output is not None else None
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    told = err.getvalue()
    assert code in (0, 2), f"exit code {code}: {told}"
    assert "Traceback" not in told
    if code == 2:
        assert out.getvalue() == "", "a refusal goes to stderr"
        check_sentence(told)
        assert told.endswith("\n")
        assert not _UNSEEN.search(told), f"control characters: {told!r}"
        assert re.search(r"^headrouter[ \w-]*: ", told, re.MULTILINE), told
    if output is not None:
        after = contents(output)
        if code == 2:
            assert after == before, "something half-written"
        elif after is not None and "result.json" in after:
            assert all(_COMPLETE.fullmatch(name) for name in after), sorted(after)
            assert {"source.png", "edit-0.png"} <= set(after)
    return code, told


def contents(folder: Path) -> dict[str, bytes] | None:
    """Every file below a folder, hidden ones too; None if there is no folder."""
    if not folder.is_dir():
        return None if not folder.exists() else {"": folder.read_bytes()}
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def damaged(data: bytes, place: float, how: str, noise: bytes) -> bytes:
    """``data`` damaged at a place between 0 and 1."""
    at = min(int(place * len(data)), max(len(data) - 1, 0))
    match how:
        case "cut":
            return data[:at]
        case "flip":
            return data[:at] + bytes([data[at] ^ (noise[0] or 1)]) + data[at + 1 :] if data else noise
        case "overwrite":
            return data[:at] + noise + data[at + len(noise) :]
        case "insert":
            return data[:at] + noise + data[at:]
        case "drop":
            return data[:at] + data[at + len(noise) :]
        case "zeros":
            return data[:at] + bytes(len(data) - at)
        case "repeat":
            return data[:at] + data
    raise AssertionError(how)


DAMAGES: Sequence[str] = ("cut", "flip", "overwrite", "insert", "drop", "zeros", "repeat")
