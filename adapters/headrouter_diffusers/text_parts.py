"""Map the words of a prompt to the tokens of each text encoder, and find the words it cannot read."""

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    def tokens(self, spelling: Spelling) -> tuple[Token, ...]:
        """Return the tokens of a prompt that enter the joint sequence, without special ones and padding."""
        if self.start is None or not self.tells_words or not spelling.text:
            return ()
        encoded = self._encoded(spelling.text, max_length=self.length + self.dropped, truncation=True)
        spans, length = self._spans(encoded, spelling.text), len(encoded["special_tokens_mask"]) - self.dropped
        first = self.start - self.dropped + (self.length - length if self.padded_left else 0)
        return tuple(
            Token(self.name, first + place, *spelling.origin(*span)) for place, span in spans if place >= self.dropped
        )

    def _spans(self, encoded: Any, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Return the characters of ``text`` that each token covers, by the token's number; none of the template's tokens."""
        before, found = len(self.template.partition("{}")[0]), []
        pairs = zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        for place, ((first, last), special) in enumerate(pairs):
            start, stop = max(first - before, 0), min(last - before, len(text))
            begin = start + len(text[start:stop]) - len(text[start:stop].lstrip())  # some count the space before a word
            if not special and begin < stop:
                found.append((place, (begin, stop)))
        return found

    def cut(self, text: str) -> tuple[int, str]:
        """Return the number of tokens of ``text``, special ones included, and the end of it that does not fit."""
        if not self.tells_words:
            count = len(self.tokenizer(self._filled(text), verbose=False)["input_ids"]) - self.dropped
            return count, text if count > self.length else ""
        encoded = self._encoded(text, verbose=False)
        count = len(encoded["special_tokens_mask"]) - self.dropped
        if count <= self.length:
            return count, ""
        words = [span for _, span in self._spans(encoded, text)]
        kept = max(len(words) - (count - self.length), 0)
        return count, text[words[kept][0] :].strip() if kept < len(words) else ""

    def unknown(self, text: str) -> list[str]:
        """Return the pieces of ``text`` that are not in the vocabulary and share one token."""
        token = getattr(self.tokenizer, "unk_token_id", None)
        if not self.tells_words or token is None:
            return []
        encoded = self._encoded(text, max_length=self.length + self.dropped, truncation=True)
        spans = self._spans(encoded, text)
        pieces = [text[start:stop].strip() for place, (start, stop) in spans if encoded["input_ids"][place] == token]
        return [*dict.fromkeys(filter(word_spans, pieces))]

    def _encoded(self, text: str, **options: Any) -> Any:
        begins = getattr(self.tokenizer, "bos_token", None)
        if begins and self.template.startswith(begins):  # a template that begins itself is not begun again
            options["add_special_tokens"] = False
        return self.tokenizer(
            self._filled(text), return_offsets_mapping=True, return_special_tokens_mask=True, **options
        )

    def _filled(self, text: str) -> str:
        before, _, after = self.template.partition("{}")
        return f"{before}{text}{after}"


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


def check_length(text: str, parts: Sequence[tuple[TextPart, str]]) -> None:
    """Check that the leading encoder, the last of ``parts``, takes all of its text.

    Raises:
        InvalidInputError: it does not; the message says what would be cut, and what to do.

    Warns:
        PromptWarning: it does, but another one does not; or an encoder does not know some of it.
    """
    leading, parts = parts[-1][0], [(part, read) for part, read in parts if read]
    for part, read in reversed(parts):
        count, rest = part.cut(read)
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
    for part, read in parts:
        if pieces := part.unknown(read):
            warnings.warn(
                f"`prompt` {text!r} has what {part.name} does not know: {', '.join(map(repr, pieces))}. Each is the same unknown"
                " token to it, whatever it says; use words that the model was trained on.",
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
