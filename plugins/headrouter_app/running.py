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
from headrouter_app.settings import Settings, Values

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

    def __init__(self, picture: Image.Image, settings: Settings, contents: Values | None = None):
        """Begin to wait for a turn.

        Args:
            picture: To edit.
            settings: Of the edit.
            contents: Contents of the page's components, by name, from which the settings were read.
        """
        self.picture, self.settings, self.contents = picture, settings, contents or {}
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
    """Holds one edit of a visitor's history, and the secret name of its folder.

    Attributes:
        number: In the visitor's history.
        job: As it was asked for.
        result: Its result.
        secret: Name of its folder.
    """

    number: int
    job: Job
    result: Result
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@final
@dataclass(eq=False)
class Visit:
    """Holds the history of one visitor, and the run that is going on or waits.

    Attributes:
        entries: Edits, by number.
        job: The edit that runs or waits.
        count: Edits so far.
        entered: What was entered for parameters, by the name of the component, also of parts that are not chosen any more.
        painting: Picture and layers that the brush shall begin with, if not the picture with nothing painted.
        paints: File and mask for which the brush was shown or hidden last.
    """

    entries: dict[int, Entry] = field(default_factory=dict)
    job: Job | None = None
    count: int = 0
    entered: dict[str, Any] = field(default_factory=dict)
    painting: tuple[Image.Image, list[Image.Image]] | None = None
    paints: tuple[str | None, str] | None = None

    def __deepcopy__(self, memo: object) -> "Visit":
        """Return an empty one: a page begins without anything of another visitor's."""
        return Visit()

    def ask(self, job: Job) -> None:
        """Ask for an edit.

        Raises:
            InvalidInputError: another waits or runs.
        """
        if self.job is not None:
            raise InvalidInputError("an edit of yours waits or runs already. Wait until it is done, or cancel it.")
        self.job = job

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

    def keep(self, job: Job, result: Result) -> Entry:
        """Add an edit to the history, and let the oldest go where there are too many."""
        self.count += 1
        entry = self.entries[self.count] = Entry(self.count, job, result)
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
    def takes_captions(self) -> bool:
        """Return whether prompts can describe pictures; those of a model of instructions alone say what to do with one."""
        return "instructions" not in self.provides

    @property
    def further_references(self) -> int:
        """Return how many reference pictures the model takes beside the edited one."""
        return max(0, self.editor.backbone.most_references - 1)

    @property
    def default_inversion(self) -> str:
        """Return the name of the inversion where the visitor chooses none."""
        return default_inversion(self.editor.backbone)

    def edit(self, job: Job) -> Result:
        """Edit a picture as it was asked for.

        Raises:
            Cancelled: the visitor cancelled it.
            HeadRouterError: what cannot be done.
        """
        asked = job.settings
        editor = self.editor.with_parts(asked.inversion, asked.methods, operators=asked.operators, progress=job)
        with self._one:
            job.begin()
            return editor.edit(job.picture, **asked.request)

    def reconstruct(self, result: Result) -> Image.Image:
        """Return the picture of a result after inversion and sampling with its own prompt, which is computed once."""
        with self._one:
            return result.reconstruction
