"""Validate a user's request of an edit."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from headrouter.config.configuration import Parameters, validate
from headrouter.errors import InvalidInputError

Text = Annotated[str, StringConstraints(max_length=100_000)]
Side = Annotated[int, Field(ge=1, le=65_536)]
Steps = Annotated[int, Field(ge=1, le=10_000)]
Guidance = Annotated[float, Field(ge=0, lt=1000)]
Size = tuple[Side, Side] | Literal["auto"]


def _as_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("must hold a number at least")
    if len(set(seeds)) < len(seeds):
        raise ValueError("must hold each number once: a seed twice gives the same picture twice")
    return seeds


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], BeforeValidator(_as_list), AfterValidator(_each_once)
]
"""Numbers that noise is drawn from, or one."""


class Request(Parameters):
    """Holds the request of one picture's run: prompts, knobs, noise and size.

    See :meth:`headrouter.editing.editor.Editor.edit`.
    """

    prompt: tuple[Text, ...] = ()
    source_prompt: Text = ""
    negative_prompt: Text = ""
    preset: str | None = None
    keep: float | None = None
    push: float | None = None
    steps: Steps | None = None
    guidance: Guidance | None = None
    seed: Seeds = (0,)
    size: Size = "auto"
    maps: bool = True


def request_of(**values: Any) -> Request:
    """Validate what a user asks; without ``prompt`` no edit is asked for, and noise is of one seed.

    Raises:
        InvalidInputError: naming every field that cannot be used.
    """
    if "prompt" in values:
        prompt = values["prompt"]
        texts = [prompt] if isinstance(prompt, str) else list(prompt) if isinstance(prompt, Sequence) else []
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise InvalidInputError(f"`prompt` must say what the picture shall show (got {prompt!r}).")
        values["prompt"] = texts
    asked = validate(Request, values)
    if not asked.prompt and len(asked.seed) > 1:
        raise InvalidInputError(f"`seed` must be one number here (got {list(asked.seed)}); ask once for each seed.")
    return asked
