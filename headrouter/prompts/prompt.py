"""Represent an encoded prompt: the conditioning of the model, and the position of each word."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from itertools import accumulate
from typing import final

from torch import Tensor

from headrouter.errors import InvalidInputError
from headrouter.prompts.marks import marks
from headrouter.prompts.spelling import Span
from headrouter.prompts.words import fold, word_spans


@final
@dataclass(frozen=True, slots=True)
class Token:
    """Describes one token that stands for characters of the prompt (never padding, never a special token).

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
    """Holds a prompt as one backbone encodes it.

    Attributes:
        text: The words, as the user gave them: with [brackets] that mark some of them.
        tensors: Conditioning of the model, by the backbone's own names; each ``[1, ...]``; never changed in place.
        tokens: Every token that stands for words, of every tokenizer whose tokens enter joint attention.
        text_axes: By name of a tensor, the axes of it that run over text tokens: ``(1,)`` of embeddings ``[1, tokens, channels]``,
            ``(1, 2)`` of a mask ``[1, tokens, tokens]``. Prompts of different lengths are padded along them to share a batch.
    """

    text: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    tokens: tuple[Token, ...] = field(default=(), repr=False)
    text_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check that all text axes have one length."""
        lengths = {name: self.tensors[name].shape[axis] for name, axes in self.text_axes.items() for axis in axes}
        assert len(set(lengths.values())) <= 1, f"text axes of {self.text!r} differ in length: {lengths}"

    @cached_property
    def length(self) -> int | None:
        """Number of text tokens, special ones and padding included; None if no axis of a tensor is named as theirs."""
        return next((self.tensors[name].shape[axes[0]] for name, axes in self.text_axes.items()), None)

    @property
    def positions(self) -> tuple[int, ...]:
        """Return the text positions that hold words, ascending, each once: no padding, no special tokens."""
        return tuple(sorted({token.position for token in self.tokens}))

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words of the text in order, as written, without punctuation; see :mod:`headrouter.prompts.words`.

        >>> Prompt("A dog, a cat-like 🐶.", {}).words
        ('A', 'dog', 'a', 'cat-like', '🐶')
        """
        return self._written(self._words)

    @property
    def different_words(self) -> tuple[str, ...]:
        """Return the words of the text in the form in which they are compared, each once.

        >>> Prompt("A dog, a Dog.", {}).different_words
        ('a', 'dog')
        """
        return tuple(dict.fromkeys(self._folded))

    @cached_property
    def _words(self) -> tuple[Span, ...]:
        return word_spans(self.text)

    @cached_property
    def _folded(self) -> tuple[str, ...]:
        return tuple(map(fold, self.words))

    def new_words(self, source: "Prompt") -> tuple[str, ...]:
        """Return the words that differ from ``source`` at their place, or those in [brackets].

        >>> Prompt("a large red star", {}).new_words(Prompt("a large blue circle", {}))
        ('red', 'star')
        >>> Prompt("a [large] red star", {}).new_words(Prompt("a large blue circle", {}))
        ('large',)
        """
        return self._written(self._new(source))

    def new_positions(self, source: "Prompt") -> tuple[int, ...]:
        """Return the text positions of :meth:`new_words`, in every tokenizer; only the occurrences that are new.

        >>> tokens = tuple(Token("t5", place, *span) for place, span in enumerate([(0, 1), (2, 5), (6, 9), (10, 13)]))
        >>> Prompt("a cat and cat", {}, tokens).new_positions(Prompt("a dog and cat", {}))
        (1,)
        """
        return self._positions(self._new(source))

    def _new(self, source: "Prompt") -> list[Span]:
        marked = marks(self.text)
        if marked:
            return [word for word in self._words if any(word[0] < stop and start < word[1] for start, stop in marked)]
        changes = SequenceMatcher(None, source._folded, self._folded, autojunk=False).get_opcodes()
        places = [range(first, last) for kind, _, _, first, last in changes if kind in ("insert", "replace")]
        return [self._words[place] for block in places for place in block]

    def find(self, phrase: str) -> tuple[int, ...]:
        """Return the text positions of ``phrase``, a word or several, in every tokenizer; all its occurrences.

        Case and Unicode's normal forms make no difference, nor does what stands between words.

        Raises:
            InvalidInputError: the phrase is no text or not in the prompt as whole words, and the message lists the words that are;
                or the model has no token for it.
        """
        if not isinstance(phrase, str):
            raise InvalidInputError(f"`word` must be text, a word of the prompt {self.text!r} (got {phrase!r}).")
        spans = self._places(Prompt(phrase, {}))
        if not spans:
            known = ", ".join(dict.fromkeys(self.words)) or "none, it is empty"
            raise InvalidInputError(f"`word` {phrase!r} is not in the prompt {self.text!r}. Its words: {known}.")
        positions = self._positions(spans)
        if (self.tokens or self.tensors) and not positions:  # a plain text has no tokens
            raise InvalidInputError(
                f"`word` {phrase!r} has no token that the model attends to in {self.text!r}. Choose another word."
            )
        return positions

    def _places(self, phrase: "Prompt") -> list[Span]:
        """Find the words of ``phrase`` in their order, however a dictionary divides them."""
        ends, count = [*accumulate(map(len, self._folded), initial=0)], len(phrase._words)
        length, found = sum(map(len, phrase._folded)), list[Span]()
        for first, begin in enumerate(ends[:-1]):
            last = bisect_left(ends, begin + length)
            if not length or last == len(ends) or ends[last] != begin + length:
                continue
            if self._folded[first:last] == phrase._folded or self._joined(first, last) == phrase._joined(0, count):
                found.append((self._words[first][0], self._words[last - 1][1]))
        return found

    def _positions(self, spans: Sequence[Span]) -> tuple[int, ...]:
        covered = {
            token.position
            for token in self.tokens
            for start, stop in spans
            if token.start < stop and start < token.stop
        }
        return tuple(sorted(covered))

    def _written(self, words: Sequence[Span]) -> tuple[str, ...]:
        return tuple(self.text[start:stop] for start, stop in words)

    def _joined(self, first: int, last: int) -> list[str]:
        """Join folded words that touch, since dictionaries divide them by their surroundings."""
        joined: list[str] = []
        for place in range(first, last):
            touches = place > first and self._words[place - 1][1] == self._words[place][0]
            joined[-1:] = [*joined[-1:], self._folded[place]] if not touches else [joined[-1] + self._folded[place]]
        return joined
