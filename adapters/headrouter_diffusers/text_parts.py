"""Map the words of a prompt to the tokens of each text encoder, and find the words it cannot read."""

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from headrouter.errors import InvalidInputError, PromptWarning
from headrouter.prompts.prompt import Token
from headrouter.prompts.spelling import Spelling
from headrouter.prompts.words import word_spans

TOKENIZING: Final = threading.RLock()
"""Held while prompts are encoded. A fork waits for it: a child cannot open the locks of native code that another thread held."""


@final
@dataclass(frozen=True, eq=False)
class TextPart:
    """Describes one text encoder's part of the joint sequence.

    Attributes:
        name: Name of its tokenizer.
        tokenizer: The tokenizer.
        length: Number of tokens that it gives at most, special ones included.
        start: Position of its first token within the text part of the joint sequence; None if its tokens do not enter.
        most: Largest ``length`` that `max_sequence_length` can give it; None if that parameter does not concern it.
        template: Text that the pipeline tokenizes, with ``{}`` for the prompt.
        dropped: Number of tokens at the beginning of the template that the pipeline leaves out afterwards.
        padded_left: Whether the pipeline fills prompts up to ``length`` on the left and keeps the padding.
    """

    name: str
    tokenizer: Any
    length: int
    start: int | None
    most: int | None = None
    template: str = "{}"
    dropped: int = 0
    padded_left: bool = False

    @property
    def tells_words(self) -> bool:
        """Return whether the tokenizer can tell which characters a token covers."""
        return bool(getattr(self.tokenizer, "is_fast", False))

    def encoded(self, text: str, **options: Any) -> Any:
        """Return what the tokenizer makes of a text in the template, with the characters that each token covers."""
        begins = getattr(self.tokenizer, "bos_token", None)
        if begins and self.template.startswith(begins):  # a template that begins itself is not begun again
            options["add_special_tokens"] = False
        return self.tokenizer(
            self.filled(text), return_offsets_mapping=True, return_special_tokens_mask=True, **options
        )

    def filled(self, text: str) -> str:
        """Return the text in the template."""
        before, _, after = self.template.partition("{}")
        return f"{before}{text}{after}"


@final
@dataclass(frozen=True, eq=False)
class Reading:
    """Reads one prompt with one text encoder's tokenizer, once for all that is asked.

    Attributes:
        part: The text encoder.
        spelling: The prompt as the pipeline gives it to the tokenizer.
    """

    part: TextPart
    spelling: Spelling

    def tokens(self) -> tuple[Token, ...]:
        """Return the tokens that enter the joint sequence, without special ones and padding."""
        part = self.part
        if part.start is None or not part.tells_words or not self.spelling.text:
            return ()
        length = len(self._kept["special_tokens_mask"]) - part.dropped
        first = part.start - part.dropped + (part.length - length if part.padded_left else 0)
        return tuple(
            Token(part.name, first + place, *self.spelling.origin(*span))
            for place, span in self._spans(self._kept)
            if place >= part.dropped
        )

    def cut(self) -> tuple[int, str]:
        """Return the number of tokens, special ones included, and the end of the prompt that does not fit."""
        part, text = self.part, self.spelling.text
        if not part.tells_words:
            count = len(part.tokenizer(part.filled(text), verbose=False)["input_ids"]) - part.dropped
            return count, text if count > part.length else ""
        count = len(self._whole["special_tokens_mask"]) - part.dropped
        if count <= part.length:
            return count, ""
        words = [span for _, span in self._spans(self._whole)]
        kept = max(len(words) - (count - part.length), 0)
        return count, text[words[kept][0] :].strip() if kept < len(words) else ""

    def unknown(self) -> list[str]:
        """Return the pieces of the prompt that are not in the vocabulary and share one token."""
        token = getattr(self.part.tokenizer, "unk_token_id", None)
        if not self.part.tells_words or token is None:
            return []
        spans, numbers = self._spans(self._kept), self._kept["input_ids"]
        pieces = [self.spelling.text[start:stop].strip() for place, (start, stop) in spans if numbers[place] == token]
        return [*dict.fromkeys(filter(word_spans, pieces))]

    @cached_property
    def _whole(self) -> Any:
        """Read all of the prompt."""
        return self.part.encoded(self.spelling.text, verbose=False)

    @cached_property
    def _kept(self) -> Any:
        """Read what fits of the prompt."""
        most = self.part.length + self.part.dropped
        if len(self._whole["special_tokens_mask"]) <= most:
            return self._whole
        return self.part.encoded(self.spelling.text, max_length=most, truncation=True)

    def _spans(self, encoded: Any) -> list[tuple[int, tuple[int, int]]]:
        """Return the characters of the prompt that each token covers, by the token's number; none of the template's tokens."""
        text, before, found = self.spelling.text, len(self.part.template.partition("{}")[0]), []
        pairs = zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        for place, ((first, last), special) in enumerate(pairs):
            start, stop = max(first - before, 0), min(last - before, len(text))
            begin = start + len(text[start:stop]) - len(text[start:stop].lstrip())  # some count the space before a word
            if not special and begin < stop:
                found.append((place, (begin, stop)))
        return found


def conversation(tokenizer: Any, message: str = "{}", *, thinking: bool) -> str:
    """Return the template, for :class:`TextPart`, of a conversation that a user's message begins.

    Args:
        tokenizer: Has the template of its language model's conversations.
        message: What the user says, with ``{}`` for the prompt.
        thinking: Whether the language model, which is only read, would think before it answers.
    """
    messages, how = [{"role": "user", "content": message}], {"add_generation_prompt": True, "enable_thinking": thinking}
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **how))


def as_tokenized(spelling: Spelling, tokenizer: Any, convert: Callable[[str, Any], str] | None) -> Spelling:
    """Return a prompt as a pipeline tokenizes it: a trained token of several vectors becomes several.

    Args:
        spelling: The prompt.
        tokenizer: Tokenizer with the trained tokens ``token``, ``token_1``, ``token_2`` ….
        convert: ``maybe_convert_prompt`` of the pipeline; None if it converts nothing.

    Raises:
        InvalidInputError: the pipeline converts the prompt in a way that leaves no telling where its words are.
    """
    if convert is None:
        return spelling
    converted, text = convert(spelling.text, tokenizer), spelling.text
    if converted == text:
        return spelling
    added = tokenizer.added_tokens_encoder
    for token in sorted({*tokenizer.tokenize(text)} & {*added}):
        names, number = [token], 1
        while (name := f"{token}_{number}") in added:
            names, number = [*names, name], number + 1
        spelling = spelling.replaced(token, " ".join(names))
    if spelling.text != converted:
        raise InvalidInputError(
            f"`prompt` {text!r} is read as {converted!r}, in which its words cannot be located. Give trained tokens names of"
            " which none begins another."
        )
    return spelling


def check_length(text: str, readings: Sequence[Reading]) -> None:
    """Check that the leading encoder, the last of ``readings``, takes all of its text.

    Raises:
        InvalidInputError: it does not; the message says what would be cut, and what to do.

    Warns:
        PromptWarning: it does, but another one does not; or an encoder does not know some of it.
    """
    leading, readings = readings[-1].part, [reading for reading in readings if reading.spelling.text]
    for reading in reversed(readings):
        part, (count, rest) = reading.part, reading.cut()
        if not rest:
            continue
        if part is leading:
            raise InvalidInputError(
                f"`prompt` is too long: {part.name} takes {part.length} tokens and this text has {count}."
                f" It would lose {rest!r}. {_advice(part, count)}"
            )
        warnings.warn(
            f"`prompt` is longer than {part.name} takes ({count} of {part.length} tokens), which does not see"
            f" {rest!r}; {leading.name} sees all of it.",
            PromptWarning,
            stacklevel=3,
        )
    for reading in readings:
        if pieces := reading.unknown():
            warnings.warn(
                f"`prompt` {text!r} has what {reading.part.name} does not know: {', '.join(map(repr, pieces))}. Each is the same"
                " unknown token to it, whatever it says; use words that the model was trained on.",
                PromptWarning,
                stacklevel=3,
            )


def _advice(part: TextPart, count: int) -> str:
    if part.most is None or part.most <= part.length:
        return "Shorten the prompt."
    if count > part.most:
        return f"Shorten the prompt; `max_sequence_length` can be {part.most} at most for this model."
    return f"Shorten the prompt, or set `max_sequence_length` to {count} or more (at most {part.most})."


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=TOKENIZING.acquire, after_in_parent=TOKENIZING.release, after_in_child=TOKENIZING.release
    )
