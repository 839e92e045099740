"""Set the number of tokens of T5, the leading text encoder."""

from typing import Any

from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter_diffusers.parameters import DiffusersParameters
from headrouter_diffusers.text_parts import TextPart

MOST_TOKENS = 512
"""Most that diffusers' pipelines take."""


class T5Parameters(DiffusersParameters):
    """Sets how a backbone that reads prompts with T5 is loaded.

    Attributes:
        max_sequence_length: Number of T5 tokens, special ones included, at most what the model takes; fewer are faster. By default
            what is usual for the model.
    """

    max_sequence_length: int | None = Field(default=None, ge=2, le=MOST_TOKENS)

    def length(self, usual: int, tokenizer: Any) -> int:
        """Number of tokens of a prompt: what is asked for, or ``usual``; ``tokenizer`` is None if there is no T5.

        Raises:
            InvalidInputError: more are asked for than the model takes.
        """
        most, asked = _most(tokenizer), self.max_sequence_length
        if asked is not None and asked > most:
            raise InvalidInputError(
                f"`max_sequence_length` must be at most {most}, what this model takes, got {asked}. Leave it out or lower it."
            )
        return min(usual, most) if asked is None else asked

    def part(self, tokenizer: Any, start: int, usual: int) -> TextPart:
        """Return the text part of T5, of :meth:`length` tokens, the first of them at ``start``."""
        return TextPart("t5", tokenizer, self.length(usual, tokenizer), start, _most(tokenizer))


def _most(tokenizer: Any) -> int:
    return MOST_TOKENS if tokenizer is None else min(MOST_TOKENS, int(tokenizer.model_max_length))
