"""Give renamed parts by the names that they had before the glossary, for one release, with a warning."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

from headrouter.errors import InvalidInputError

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")
_WITH_THE_NEXT_RELEASE: Final = "the old name goes with the next release."


def names(module: str, **renamed: str) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds what was renamed, by its old names.

    >>> names("headrouter.attention.step_info", Clock="StepInfo")("Watch")
    Traceback (most recent call last):
    AttributeError: module 'headrouter.attention.step_info' has no attribute 'Watch'
    """

    def find(old: str) -> Any:
        if old not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {old!r}")
        _warn(f"{module}.{old} is {renamed[old]} now", 3)
        return getattr(import_module(module), renamed[old])

    return find


def attribute(old: str, new: str) -> Any:
    """Return a property that reads the attribute ``new`` of a value by its old name."""

    def read(value: object) -> Any:
        _warn(f"`{type(value).__name__}.{old}` is `{new}` now", 3)
        return getattr(value, new)

    return property(read, doc=f"Old name of ``{new}``.")


def keywords(**renamed: str) -> Callable[[Callable[_Parameters, _Returned]], Callable[_Parameters, _Returned]]:
    """Return a decorator of functions, and of classes, that still take keywords by their old names."""

    def decorate(function: Callable[_Parameters, _Returned]) -> Callable[_Parameters, _Returned]:
        name = function.__qualname__.removesuffix(".__init__")
        if isinstance(function, type):
            function.__init__ = keywords(**renamed)(function.__init__)  # type: ignore[misc]
            return function

        @wraps(function)
        def call(*args: _Parameters.args, **given: _Parameters.kwargs) -> _Returned:
            return function(*args, **taken(name, renamed, given))

        return call

    return decorate


def taken(owner: str, renamed: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by their new names; ``owner`` is what takes them."""
    values = dict(given)
    for old in renamed.keys() & given.keys():
        _warn(f"`{old}` of {owner} is `{renamed[old]}` now", 4)
        if renamed[old] in given:
            raise InvalidInputError(f"{owner} got `{renamed[old]}` and `{old}`, its old name; leave `{old}` out.")
        values[renamed[old]] = values.pop(old)
    return values


class Renamed:
    """Lets subclasses implement members by their old names, and callers use those, for one release.

    A class states ``renamed={"old": "new"}`` beside its bases; the members that it and its subclasses define have both names.
    """

    __slots__ = ()
    _renamed: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, *, renamed: Mapping[str, str] | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if renamed is not None:
            cls._renamed = {**cls._renamed, **renamed}
        for old, new in cls._renamed.items():
            if new in vars(cls):
                setattr(cls, old, _Member(vars(cls)[new], old, new))
            elif old in vars(cls):
                _warn(f"`{old}` of {cls.__qualname__} is `{new}` now", 3)
                setattr(cls, new, vars(cls)[old])


class _Member:
    """Gives a method or property of a class by its old name; of that very class, so that ``super()`` ends."""

    def __init__(self, member: Any, old: str, new: str):
        self.member, self.old, self.new = member, old, new

    def __get__(self, value: object, owner: type) -> Any:
        """Return the member, bound to a value."""
        _warn(f"`{self.old}` of {owner.__qualname__} is `{self.new}` now", 3)
        return self.member.__get__(value, owner)


def _warn(change: str, level: int) -> None:
    warnings.warn(f"{change}; {_WITH_THE_NEXT_RELEASE}", DeprecationWarning, level + 1)
