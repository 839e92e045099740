"""Encode prompts by a pipeline, and find their words among its tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrouter_diffusers.quiet import without_notes_on_length
from torch import Tensor

from headrouter.prompts.marks import without_marks
from headrouter.prompts.prompt import Prompt
from headrouter_diffusers.text_parts import TOKENIZING, Reading, TextPart, as_tokenized, check_length


def encoded(
    pipeline: Any,
    parts: Sequence[TextPart],
    texts: Sequence[str],
    encode: Callable[[str], Mapping[str, Tensor]],
    text_axes: Mapping[str, tuple[int, ...]],
) -> list[Prompt]:
    """Encode prompts one by one, all of which are checked before the first.

    Args:
        pipeline: The diffusers pipeline.
        parts: Its text encoders, the leading one last.
        texts: The prompts, with marks.
        encode: Returns the tensors of one prompt without marks.
        text_axes: Axes of these tensors that run over text tokens.

    Raises:
        InvalidInputError: a prompt that is too long.
    """
    with TOKENIZING, without_notes_on_length(type(pipeline).__module__):
        read = {text: readings(pipeline, parts, text) for text in texts}
        for text, own in read.items():
            check_length(text, own)
        pipeline.maybe_free_model_hooks()
        return [
            Prompt(
                text,
                encode(without_marks(text).text),
                tuple(token for reading in read[text] for token in reading.tokens()),
                text_axes,
            )
            for text in texts
        ]


def readings(pipeline: Any, parts: Sequence[TextPart], text: str) -> list[Reading]:
    """Return how each text encoder reads what the pipeline gives its tokenizer for a prompt."""
    convert = getattr(pipeline, "maybe_convert_prompt", None)
    return [Reading(part, as_tokenized(without_marks(text), part.tokenizer, convert)) for part in parts]


def behind_pictures(prompt: Prompt, leading: TextPart) -> Prompt:
    """Return a prompt whose words stand behind tokens of pictures, of which the leading tokenizer knows nothing."""
    assert prompt.length is not None
    more = prompt.length - Reading(leading, without_marks(prompt.text)).cut()[0]
    return replace(prompt, tokens=tuple(replace(own, position=own.position + more) for own in prompt.tokens))
