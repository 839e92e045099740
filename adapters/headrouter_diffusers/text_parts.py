"""Where the words of a prompt go: the tokens of each text encoder, and what an encoder would cut."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from headrouter.errors import InvalidInputError, PromptWarning
from headrouter.prompt import Token


@final
@dataclass(frozen=True, eq=False)
class TextPart:
    """One text encoder, as the joint sequence sees it.

    Attributes:
        name: Name of its tokenizer.
        tokenizer: The tokenizer.
        length: Number of tokens it takes, special ones included.
        start: Position of its first token within the text part of the joint sequence; None if its tokens do not enter.
    """

    name: str
    tokenizer: Any
    length: int
    start: int | None

    @property
    def tells_words(self) -> bool:
        """Whether the tokenizer can tell which characters a token covers."""
        return bool(getattr(self.tokenizer, "is_fast", False))

    def tokens(self, text: str) -> tuple[Token, ...]:
        """Tokens of ``text`` that enter the joint sequence, without special ones and padding."""
        if self.start is None or not self.tells_words:
            return ()
        encoded = self.tokenizer(
            text,
            max_length=self.length,
            truncation=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        found = []
        pairs = zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        for position, ((start, stop), special) in enumerate(pairs):
            begin = start + len(text[start:stop]) - len(text[start:stop].lstrip())  # some count the space before a word
            if not special and begin < stop:
                found.append(Token(self.name, self.start + position, begin, stop))
        return tuple(found)

    def cut(self, text: str) -> tuple[int, str]:
        """Number of tokens of ``text``, special ones included, and the end of it that does not fit."""
        if not self.tells_words:
            count = len(self.tokenizer(text, verbose=False)["input_ids"])
            return count, text if count > self.length else ""
        encoded = self.tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
        special = encoded["special_tokens_mask"]
        if len(special) <= self.length:
            return len(special), ""
        words = [offsets for offsets, mark in zip(encoded["offset_mapping"], special, strict=True) if not mark]
        return len(special), text[words[self.length - sum(special)][0] :].strip()


def check_length(text: str, parts: Sequence[TextPart]) -> None:
    """Check that the leading encoder, the last of ``parts``, takes all of ``text``.

    Raises:
        InvalidInputError: it does not; the message says what would be cut.

    Warns:
        PromptWarning: it does, but another one does not.
    """
    leading = parts[-1]
    for part in reversed(parts):
        count, rest = part.cut(text)
        if not rest:
            continue
        if part is leading:
            raise InvalidInputError(
                f"`prompt` is too long: {part.name} takes {part.length} tokens and this text has {count}."
                f" It would lose {rest!r}. Shorten the prompt."
            )
        warnings.warn(
            f"`prompt` is longer than {part.name} takes ({count} of {part.length} tokens), which does not see"
            f" {rest!r}; {leading.name} sees all of it.",
            PromptWarning,
            stacklevel=3,
        )
