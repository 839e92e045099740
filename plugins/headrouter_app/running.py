"""Run the edits of all visitors on one loaded model, one at a time. A visitor may cancel theirs at any step."""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, final

from PIL import Image

from headrouter.attention.step_info import Phase
from headrouter.editing.assembly import default_inversion
from headrouter.editing.editor import Editor
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter_app.settings import Settings

Show = Callable[[str, int, int], None]
"""Shows progress: the phase in words, the steps done, and the steps in all."""
_WORDS: Final[Mapping[Phase, str]] = {
    "invert": "taking the picture to noise",
    "sample": "editing",
    "generate": "drawing",
}
KEPT: Final = 12
"""Edits that a visitor's history holds; the oldest goes first."""


class Cancelled(Exception):
    """Reports that a visitor cancelled a run."""


@final
class Job:
    """Holds an edit that a visitor asked for, follows it step by step, and ends it when it was cancelled."""

    def __init__(self, picture: Image.Image, settings: Settings):
        """Begin to wait for a turn."""
        self.picture, self.settings = picture, settings
        self.show: Show = lambda phase, done, total: None
        self._stop = threading.Event()

    def cancel(self) -> None:
        """End the run at its next step, or before its first."""
        self._stop.set()

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        """Show a step.

        Raises:
            Cancelled: the visitor cancelled the run.
        """
        if self._stop.is_set():
            raise Cancelled(f"Cancelled while {_WORDS.get(phase, phase)}, after step {done} of {total}.")
        self.show(_WORDS.get(phase, phase), done, total)

    def begin(self) -> None:
        """Begin the run.

        Raises:
            Cancelled: the visitor cancelled while it waited.
        """
        if self._stop.is_set():
            raise Cancelled("Cancelled before it began.")


@final
@dataclass(eq=False)
class Entry:
    """Holds one edit of a visitor's history: its settings, its result, and the secret name of its folder."""

    number: int
    settings: Settings
    result: Result
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@final
@dataclass(eq=False)
class Visit:
    """Holds the history of one visitor, and the run that is going on or waits."""

    entries: dict[int, Entry] = field(default_factory=dict)
    job: Job | None = None
    count: int = 0

    def __deepcopy__(self, memo: object) -> "Visit":
        """Return an empty one: a page begins without anything of another visitor's."""
        return Visit()

    def ask(self, picture: Image.Image, settings: Settings) -> None:
        """Ask for an edit.

        Raises:
            InvalidInputError: another waits or runs.
        """
        if self.job is not None:
            raise InvalidInputError("an edit of yours waits or runs already. Wait until it is done, or cancel it.")
        self.job = Job(picture, settings)

    @contextmanager
    def asked(self, show: Show) -> Iterator[Job]:
        """Give the edit that was asked for its turn; afterwards another may be asked for.

        Raises:
            Cancelled: it was cancelled.
        """
        job = self.job
        if job is None:
            raise Cancelled("There is nothing to do.")
        try:
            job.show = show
            job.begin()
            yield job
        finally:
            self.job = None

    def cancel(self) -> bool:
        """Cancel the edit that waits or runs, and return whether there was one."""
        if self.job is None:
            return False
        self.job.cancel()
        return True

    def keep(self, settings: Settings, result: Result) -> Entry:
        """Add an edit to the history, and let the oldest go where there are too many."""
        self.count += 1
        entry = self.entries[self.count] = Entry(self.count, settings, result)
        for number in [*self.entries][:-KEPT]:
            del self.entries[number]
        return entry


@final
class Studio:
    """Holds the loaded model, and runs one edit after the other on it."""

    def __init__(self, editor: Editor, backbone: str, model: str | None, loading: Mapping[str, Any]):
        """Keep a loaded editor, and the options that it was loaded with."""
        self.editor, self.backbone, self.model, self.loading = editor, backbone, model, loading
        self._one = threading.Lock()

    @classmethod
    def load(cls, backbone: str, model: str | None, loading: Mapping[str, Any]) -> "Studio":
        """Load a model, with ``loading`` as keywords of the editor."""
        return cls(Editor(backbone, None, None, model=model, progress=False, **loading), backbone, model, loading)

    @property
    def provides(self) -> frozenset[str]:
        """Return the capabilities of the model."""
        return self.editor.backbone.provides

    @property
    def takes_instructions(self) -> bool:
        """Return whether prompts say what to do with the picture."""
        return "instructions" in self.provides

    @property
    def default_inversion(self) -> str:
        """Return the name of the inversion where the visitor chooses none."""
        return default_inversion(self.editor.backbone)

    def edit(self, picture: Image.Image, settings: Settings, job: Job) -> Result:
        """Edit a picture.

        Raises:
            Cancelled: the visitor cancelled it.
            HeadRouterError: what cannot be done.
        """
        editor = self.editor.with_parts(
            settings.inversion, settings.methods, operators=settings.operators, progress=job
        )
        with self._one:
            job.begin()
            return editor.edit(picture, **settings.request)

    def reconstruct(self, result: Result) -> Image.Image:
        """Return the picture of a result after inversion and sampling with its own prompt, which is computed once."""
        with self._one:
            return result.reconstruction
