"""What a user asks of an edit, validated."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from headrouter.configuration import Parameters, validate
from headrouter.errors import InvalidInputError

Text = Annotated[str, StringConstraints(max_length=100_000)]
Side = Annotated[int, Field(ge=1, le=65_536)]
Size = tuple[Side, Side] | Literal["auto"]


class Request(Parameters):
    """One picture's run: prompts, knobs, noise and size. See :meth:`headrouter.editor.Editor.edit`."""

    prompt: tuple[Text, ...] = ()
    source_prompt: Text = ""
    negative_prompt: Text = ""
    preset: str | None = None
    keep: float | None = None
    push: float | None = None
    steps: int | None = Field(None, ge=1, le=10_000)
    guidance: float | None = Field(None, ge=0, lt=1000)
    seed: int = Field(0, ge=0, lt=2**63)
    size: Size = "auto"
    maps: bool = True


def request_of(**values: Any) -> Request:
    """Validate what a user asks; without ``prompt`` no edit is asked for.

    Raises:
        InvalidInputError: naming every field that cannot be used.
    """
    if "prompt" in values:
        prompt = values["prompt"]
        texts = [prompt] if isinstance(prompt, str) else list(prompt) if isinstance(prompt, Sequence) else []
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise InvalidInputError(f"`prompt` must say what the picture shall show (got {prompt!r}).")
        values["prompt"] = texts
    return validate(Request, values)
