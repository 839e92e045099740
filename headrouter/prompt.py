"""An encoded prompt: what the model is conditioned on, and where each word of the text went."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import final

from torch import Tensor

from headrouter.errors import InvalidInputError


@final
@dataclass(frozen=True, slots=True)
class Token:
    """One token that stands for characters of the prompt (never padding, never a special token).

    Attributes:
        tokenizer: Name of the tokenizer that made it, for instance ``"t5"``.
        position: Index within the text part of the joint sequence. Two tokenizers may share a position.
        start, stop: Characters ``text[start:stop]`` of the prompt that the token covers.
    """

    tokenizer: str
    position: int
    start: int
    stop: int


@final
@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt as one backbone sees it.

    Attributes:
        text: The words.
        tensors: What the model is conditioned on, by the backbone's own names; each ``[1, ...]``.
        tokens: Every token that stands for words, of every tokenizer whose tokens enter joint attention.
    """

    text: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    tokens: tuple[Token, ...] = field(default=(), repr=False)

    @property
    def positions(self) -> tuple[int, ...]:
        """Text positions that hold words, ascending, each once: no padding, no special tokens."""
        return tuple(sorted({token.position for token in self.tokens}))

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text in order, without punctuation.

        >>> Prompt("A dog, a cat-like dog.", {}).words
        ('A', 'dog', 'a', 'cat-like', 'dog')
        """
        return tuple(match.group() for match in _WORD.finditer(self.text))

    def new_words(self, source: "Prompt") -> tuple[str, ...]:
        """Words of this prompt that stand where ``source`` says something else, or nothing.

        >>> Prompt("a large red star", {}).new_words(Prompt("a large blue circle", {}))
        ('red', 'star')
        """
        return tuple(match.group() for match in self._new(source))

    def new_positions(self, source: "Prompt") -> tuple[int, ...]:
        """Text positions of :meth:`new_words`, in every tokenizer; only the occurrences that are new.

        >>> tokens = tuple(Token("t5", place, *span) for place, span in enumerate([(0, 1), (2, 5), (6, 9), (10, 13)]))
        >>> Prompt("a cat and cat", {}, tokens).new_positions(Prompt("a dog and cat", {}))
        (1,)
        """
        return self._positions([match.span() for match in self._new(source)])

    def _new(self, source: "Prompt") -> list[re.Match[str]]:
        words = list(_WORD.finditer(self.text))
        before, after = [_fold(word) for word in source.words], [_fold(match.group()) for match in words]
        changes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        return [
            match for kind, _, _, first, last in changes if kind in ("insert", "replace") for match in words[first:last]
        ]

    def _positions(self, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        covered = {
            token.position
            for token in self.tokens
            for start, stop in spans
            if token.start < stop and start < token.stop
        }
        return tuple(sorted(covered))

    def find(self, phrase: str) -> tuple[int, ...]:
        """Text positions of ``phrase``, a word or several, in every tokenizer; all its occurrences; case is ignored.

        Raises:
            InvalidInputError: the phrase is not in the prompt as whole words; the message lists the words that are.
        """
        if not isinstance(phrase, str):
            raise InvalidInputError(f"`word` must be text, a word of the prompt {self.text!r} (got {phrase!r}).")
        wanted = [_fold(match.group()) for match in _WORD.finditer(phrase)]
        words = list(_WORD.finditer(self.text))
        folded = [_fold(match.group()) for match in words]
        spans = [
            (words[first].start(), words[first + len(wanted) - 1].end())
            for first in range(len(words) - len(wanted) + 1)
            if wanted and folded[first : first + len(wanted)] == wanted
        ]
        if not spans:
            known = ", ".join(dict.fromkeys(self.words)) or "none, it is empty"
            raise InvalidInputError(f"`word` {phrase!r} is not in the prompt {self.text!r}. Its words: {known}.")
        return self._positions(spans)


_WORD = re.compile(r"\w+(?:['’\-]\w+)*")


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()
