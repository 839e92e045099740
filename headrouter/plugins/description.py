"""Check the fields of a plug-in's descriptions where they are written, before any part is built.

Each function raises :class:`~headrouter.errors.InvalidInputError` naming the field, the rule and what came.
"""

import re
from collections.abc import Mapping, Sequence, Set
from math import isfinite
from typing import Any, Final, Protocol

from headrouter.errors import InvalidInputError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class Described(Protocol):
    """Describes a part of a plug-in by fields."""

    @property
    def kind(self) -> str:
        """Return the kind of part that it describes."""
        ...

    @property
    def name(self) -> str:
        """Return its name."""
        ...


def require_name(field: str, name: object) -> None:
    """Refuse a field that cannot be a name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`{field}` must be lower-case letters, digits, '.', '_', '-', first a letter or digit (got {name!r})."
        )


def require_target(field: str, target: object) -> None:
    """Refuse a field that is not ``module:attribute``."""
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise InvalidInputError(f"`{field}` must look like 'module:Class' (got {target!r}).")


def require_text(description: Described, *fields: str) -> None:
    """Refuse fields that are not one line of printable text."""
    for field in fields:
        text = getattr(description, field)
        if not isinstance(text, str) or not text.isprintable():
            raise _wrong(description, field, "one line of printable text", text)


def require_truth(description: Described, field: str) -> None:
    """Refuse a field that is neither True nor False."""
    if type(getattr(description, field)) is not bool:
        raise _wrong(description, field, "True or False", getattr(description, field))


def require_whole(description: Described, *fields: str, least: int) -> None:
    """Refuse fields that are not whole numbers from ``least``."""
    for field in fields:
        number = getattr(description, field)
        if type(number) is not int or number < least:
            raise _wrong(description, field, f"a whole number from {least}", number)


def require_number(description: Described, field: str) -> None:
    """Refuse a field that is not a finite number from 0."""
    number = getattr(description, field)
    if type(number) not in (int, float) or not isfinite(number) or number < 0:
        raise _wrong(description, field, "a finite number from 0", number)


def require_values(description: Described, field: str) -> None:
    """Refuse a field that does not map names to finite numbers, truth values, text or lists of whole numbers."""
    values = getattr(description, field)
    fits = isinstance(values, Mapping) and all(
        isinstance(name, str)
        and (isinstance(value, bool | int | float | str) or _are_whole(value))
        and not _is_endless(value)
        for name, value in values.items()
    )
    if not fits:
        raise _wrong(
            description, field, "names with finite numbers, truth values, text or lists of whole numbers", values
        )


def words_of(field: str, words: object) -> tuple[str, ...]:
    """Return several words in their order; refuse a lone text, which would be read letter by letter."""
    some = _several(words)
    if not all(isinstance(word, str) and word.isprintable() for word in some):
        raise InvalidInputError(f"`{field}` must be a set or list of words (got {words!r}).")
    return some


def block_numbers_of(description: Described, field: str) -> tuple[int, ...]:
    """Return different block numbers from 0, in their order."""
    numbers = getattr(description, field)
    some = _several(numbers)
    if any(type(number) is not int or number < 0 for number in some) or len(set(some)) < len(some):
        raise _wrong(description, field, "different block numbers from 0", numbers)
    return some


def _several(some: object) -> tuple[Any, ...]:
    """Return the items of a list, tuple or set; None alone, which is no item of anything, for all else."""
    return tuple(some) if isinstance(some, Sequence | Set) and not isinstance(some, str | bytes) else (None,)


def _are_whole(value: object) -> bool:
    return isinstance(value, list | tuple) and all(type(number) is int for number in value)


def _is_endless(value: object) -> bool:
    return isinstance(value, float) and not isfinite(value)


def _wrong(description: Described, field: str, rule: str, value: object) -> InvalidInputError:
    return InvalidInputError(f"`{field}` of {description.kind} {description.name!r} must be {rule} (got {value!r}).")
