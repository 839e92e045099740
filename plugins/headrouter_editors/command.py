"""Edit by a program of the user's own, run once for each edit, without a shell."""

import hashlib
import os
import shlex
import shutil
import signal
import string
import subprocess
import tempfile
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from pydantic import Field, field_validator

from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.other_editor import Edit, EditRequest, OtherEditor
from headrouter.imaging.picture import load_picture, save_picture

PLACES: Final = ("picture", "prompt", "source_prompt", "instruction", "seed", "output")
"""Words that may stand in braces in a command."""
_LONGEST_MESSAGE: Final = 300


class CommandError(HeadRouterError):
    """Reports a program that failed, ran too long or left no picture."""


class Command(OtherEditor):
    """Holds a command line with words in braces for the values of an edit.

    Attributes:
        command: Program and arguments, as a list, or as a text that is split like a shell's, with its quotes: for instance
            ``python edit.py {picture} --to {prompt} --seed {seed} -o {output}``. ``{picture}`` and ``{output}`` are paths of PNG
            files. No shell is run: a prompt is one argument, whatever is in it.
        timeout: Seconds after which the program is ended.
        version: Text that changes when its results do, for instance that of its weights.
    """

    command: tuple[str, ...] = Field(min_length=1)
    timeout: float = Field(600.0, gt=0)
    version: str = ""

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        try:
            return shlex.split(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"cannot be split into words: {error}") from error

    @field_validator("command")
    @classmethod
    def _has_places(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        found = _places(words)
        for name in found:
            if name not in PLACES:
                close = get_close_matches(name, PLACES, n=1)
                advice = f"did you mean {{{close[0]}}}?" if close else f"known: {', '.join(PLACES)}."
                raise ValueError(f"has the unknown place {{{name}}}; {advice} Write {{{{ and }}}} for braces")
        for name in ("picture", "output"):
            if name not in found:
                raise ValueError(f"must have the place {{{name}}}, a path")
        return words

    @property
    def needs(self) -> frozenset[str]:
        """Return the texts that the command has places for."""
        return frozenset({"source_prompt", "instruction"} & set(_places(self.command)))

    @property
    def revision(self) -> str:
        """Return a hash of the version, and of the program and all files that the command names."""
        digest = hashlib.sha256(self.version.encode())
        for word in (shutil.which(self.command[0]) or "", *self.command[1:]):
            with suppress(OSError, ValueError):  # words that are no files
                if Path(word).is_file():
                    digest.update(Path(word).read_bytes())
        return digest.hexdigest()[:16]

    def check(self) -> None:
        """Look for the program.

        Raises:
            InvalidInputError: there is none of this name.
        """
        if shutil.which(self.command[0]) is None:
            raise InvalidInputError(
                f"`command`: there is no program {self.command[0]!r}. Give its path, or put its folder into PATH."
            )

    def load(self, device: torch.device) -> Edit:
        """Return the function that runs the command; the device is the program's own concern."""
        self.check()
        return self._edit

    def _edit(self, asked: EditRequest) -> Image.Image:
        with tempfile.TemporaryDirectory(prefix="headrouter-") as folder:
            output = Path(folder) / "edit.png"
            picture = save_picture(asked.picture, Path(folder) / "picture.png")
            values = {
                "picture": str(picture),
                "prompt": asked.prompt,
                "source_prompt": asked.source_prompt,
                "instruction": asked.instruction,
                "seed": str(asked.seed),
                "output": str(output),
            }
            self._run([word.format_map(values) for word in self.command])
            if not output.is_file():
                raise CommandError(f"{self.command[0]!r} ended well, and left no picture at {{output}}.")
            edit = load_picture(output)
        return edit if edit.size == asked.picture.size else edit.resize(asked.picture.size, Image.Resampling.LANCZOS)

    def _run(self, words: list[str]) -> None:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise CommandError(f"{words[0]!r} cannot be run: {error}.") from error
        with process:
            try:
                _, said = process.communicate(timeout=self.timeout)
            except subprocess.TimeoutExpired as error:
                raise CommandError(
                    f"{words[0]!r} took more than {self.timeout:g} seconds, and was ended. Give it a longer `timeout`."
                ) from error
            finally:
                _end(process)
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise CommandError(f"{words[0]!r} ended with {process.returncode}: {last[0][:_LONGEST_MESSAGE]}")


def _places(words: tuple[str, ...]) -> list[str]:
    try:
        fields = [field for word in words for field in string.Formatter().parse(word) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"has a brace that stands alone: {error}. Write {{{{ and }}}} for braces") from error
    return [f"{name}{'!' * bool(conversion)}{':' * bool(how)}{how}" for _, name, how, conversion in fields]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program that still runs, and all that it has started."""
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
