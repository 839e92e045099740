"""Read marks of words in a prompt: [brackets], as the prompts of PIE-Bench have them (arXiv:2310.01506).

A model never reads the brackets.
"""

import re

from headrouter.prompts.spelling import Span, Spelling
from headrouter.prompts.words import word_spans

_BRACKETS = re.compile(r"""\\[\[\]]|\[(?!\s*')([^\[\]{}"]+)\]""")


def without_marks(text: str) -> Spelling:
    r"""Return a prompt as the model reads it: without brackets, and without the backslash of ``\[`` and ``\]``.

    >>> without_marks("a [red] cat").text, without_marks(r"a sign: \[red\]").text, without_marks('{"a": ["b"], "c": [1]}').text
    ('a red cat', 'a sign: [red]', '{"a": ["b"], "c": [1]}')
    """
    left_out = {place for start, stop in marks(text) for place in (start - 1, stop)}
    left_out |= {match.start() for match in _BRACKETS.finditer(text) if match[1] is None}
    kept = [place for place in range(len(text)) if place not in left_out]
    return Spelling("".join(text[place] for place in kept), tuple((place, place + 1) for place in kept))


def marks(text: str) -> list[Span]:
    """Returns what stands inside [brackets] that mark words.

    Brackets stay brackets after a backslash, and around numbers alone, quotes, braces or further brackets, as in JSON.
    """
    return [match.span(1) for match in _BRACKETS.finditer(text) if match[1] is not None and _holds_words(match[1])]


def _holds_words(text: str) -> bool:
    return not all(re.fullmatch(r"[\d.,]+", text[start:stop]) for start, stop in word_spans(text))
