"""Find the words of a text by Unicode's word boundaries (UAX 29), as spans of the text.

Scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are segmented by the dictionaries of ICU.
Two tailorings, of the kind that UAX 29 leaves open: hyphens and apostrophes between letters or digits join ("cat-like", "90's"),
full stops and colons between letters separate ("style:cat").
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

from headrouter.errors import InvalidInputError
from headrouter.prompts.spelling import Span, Spelling

_JOINTS = frozenset("-\u2010\u2011'’")
_STOP = re.compile(r"(?<!\d)([.:])(?=[^\W\d])")
_PICTOGRAPHS = frozenset({"So", "Co", "Cn"})
"""Categories: symbols, private characters, and characters that are younger than this Python's Unicode tables."""
_EMOJI_STYLE = "\ufe0f"
_INVISIBLE = re.compile(  # Default_Ignorable_Code_Point, without the tags that tell flags apart
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)


def word_spans(text: str) -> tuple[Span, ...]:
    """Finds the words of a text in order: letters, digits and pictographs, no spaces and no punctuation.

    >>> text = "A cat-like 🐶, 赤い猫."
    >>> [text[start:stop] for start, stop in word_spans(text)]
    ['A', 'cat-like', '🐶', '赤い', '猫']

    Raises:
        InvalidInputError: half of a surrogate pair, which is no character.
    """
    spans: list[Span] = []
    composed, before, at = _composed(text), "", 0
    for piece in _pieces(composed.text):
        start, at = at, at + len(piece)
        kind = _kind(piece)
        if kind == "word" and before == "joint":
            spans[-1] = (spans[-1][0], at)
        elif kind in ("word", "pictograph"):
            spans.append((start, at))
        before = "" if kind == "joint" and before != "word" else kind
    return tuple(composed.origin(*span) for span in spans)


def fold(word: str) -> str:
    """Returns the form in which words are compared: compatibility composition, no case, no invisible characters.

    >>> fold("Cafe\u0301") == fold("CAFÉ") == "café"
    True
    """
    visible = _INVISIBLE.sub("", word)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def _kind(piece: str) -> Literal["word", "pictograph", "joint", ""]:
    categories = {unicodedata.category(character) for character in piece}
    if any(category[0] in "LN" for category in categories):
        return "word"
    if (_EMOJI_STYLE in piece or categories & _PICTOGRAPHS) and fold(piece) and not piece[0].isspace():
        return "pictograph"
    return "joint" if piece in _JOINTS else ""


def _composed(text: str) -> Spelling:
    """Return the text in normal form C, of whose characters the dictionaries are."""
    clusters: list[str] = []
    for character in text:
        if clusters and (unicodedata.combining(character) or _compose(clusters[-1], character)):
            clusters[-1] += character
        else:
            clusters.append(character)
    parts, origins, at = [], list[Span](), 0
    for cluster in clusters:
        start, at = at, at + len(cluster)
        parts.append(unicodedata.normalize("NFC", cluster))
        same = parts[-1] == cluster
        origins += [(place, place + 1) for place in range(start, at)] if same else [(start, at)] * len(parts[-1])
    return Spelling("".join(parts), tuple(origins))


def _compose(before: str, after: str) -> bool:
    together = unicodedata.normalize("NFC", before + after)
    return together != unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", after)


def _pieces(text: str) -> Iterator[str]:
    """Cut the text at its word boundaries; every character is in a piece."""
    from icu4py.breakers import WordBreaker

    try:
        pieces = WordBreaker(text, "root")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"a text must be of whole characters, got half of a surrogate pair at place {error.start} of {text!r}."
        ) from error
    for piece in pieces:
        yield from filter(None, _STOP.split(piece))
