"""Read the ``search`` of a file, and check every end and option against the fields of the parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field as PydanticField
from pydantic import create_model

from headrouter.config.configuration import Parameters, unknown_name, validate
from headrouter.config.yaml_document import Document
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.composing import SEVERAL, Knobs, part_of, with_defaults
from headrouter.experiments.file.matrix import KNOBS
from headrouter.experiments.file.options import read_part
from headrouter.experiments.file.sweep import label_of, short
from headrouter.plugins.specifications import KINDS, Kind
from headrouter_tune.space import Choice, Field, Option, Range, Space

_NEVER = ("backbone", "seed")


class RangeEntry(Parameters):
    """Describes a range as the file has it."""

    low: int | float = PydanticField(description="Smallest value.")
    high: int | float = PydanticField(description="Largest value.")
    step: int | float | None = PydanticField(None, gt=0, description="Between two values.")
    log: bool = PydanticField(False, description="Search the logarithm evenly.")


@dataclass(frozen=True)
class _Target:
    """Names a field: its path in a configuration, and the class that has it; no class for parts of a kind."""

    path: tuple[str, ...]
    owner: type[Parameters] | None


def read_space(document: Document, base: Mapping[str, Any]) -> Space:
    """Read what is searched.

    Args:
        document: A mapping from dotted paths to ranges, mappings with ``low`` and ``high``, and to lists of values or parts.
        base: The configuration whose fields are searched, as the file has it.

    Raises:
        InvalidInputError: all that is wrong, with places.
    """
    if not isinstance(document.data, Mapping) or not document.data:
        raise InvalidInputError(
            f"{document.locate(())}: `search` must map fields to ranges and lists, such as `inversion.stop: {{low: 4, high: "
            f"20}}` (got {short(document.data)})."
        )
    found, wrong = list[Field](), list[str]()
    for key in document.data:
        try:
            target = _target(str(key), document, base)
            found.append(_field(f"{key}", target, document.at(key)))
        except InvalidInputError as error:  # noqa: PERF203
            wrong += str(error).splitlines()
    first: dict[tuple[str, ...], Field] = {}
    for field in found:
        if (other := first.setdefault(field.path, field)) is not field:
            wrong.append(
                f"{field.place}: `search.{field.name}` is the same field as `search.{other.name}`. Leave one out."
            )
    if wrong:
        raise InvalidInputError("\n".join(dict.fromkeys(wrong)))
    return tuple(found)


def _target(key: str, document: Document, base: Mapping[str, Any]) -> _Target:
    """Return what a path leads to."""
    first, *rest = path = tuple(key.split("."))
    place = document.locate((key,), at_key=True)
    known = (*(kind for kind in KINDS if kind not in _NEVER), *KNOBS)
    if first in _NEVER:
        raise InvalidInputError(
            f"{place}: `search.{key}`: one model is searched at a time, with the seeds of the file. Search another model in "
            "another folder."
        )
    if first not in known or (first not in KINDS and rest):
        raise _unknown(place, key, first, known)
    if not rest:
        return _Target(path, None if first in KINDS else Knobs)
    if first in document.data:
        raise InvalidInputError(
            f"{place}: `search.{key}`: `{first}` itself is searched. Give the range under its option: `{first}: [{{name: …, "
            f"search: {{{'.'.join(rest)}: …}}}}, …]`."
        )
    kind: Any = first
    given = with_defaults(base)[kind]
    listed = isinstance(given, list) and kind in SEVERAL
    classes = [part_of(kind, one)[0] for one in (given if listed else [given])]
    if rest[0].isdecimal() and listed and int(rest[0]) < len(classes) and len(rest) == 2:
        return _Target(path, _having(classes[int(rest[0])], rest[1], place, key))
    owners = [number for number, one in enumerate(classes) if rest[0] in one.model_fields]
    if len(owners) > 1:
        numbers = " or ".join(f"`{kind}.{number}.{rest[0]}`" for number in owners)
        raise InvalidInputError(f"{place}: `search.{key}`: several parts have this field. Say which: {numbers}.")
    if len(rest) > 1 or not owners:
        raise _unknown(place, key, rest[0], sorted({name for one in classes for name in one.model_fields}))
    return _Target((kind, *([str(owners[0])] if listed else []), rest[0]), classes[owners[0]])


def _having(owner: type[Parameters], field: str, place: str, key: str) -> type[Parameters]:
    if field not in owner.model_fields:
        raise _unknown(place, key, field, sorted(owner.model_fields))
    return owner


def _field(name: str, target: _Target, document: Document) -> Field:
    place = document.locate(())
    if target.owner is None:
        return _parts(name, target, document)
    if isinstance(document.data, list):
        options = [Option(label_of(one), one) for one in document.data]
        for index, option in enumerate(options):
            _checked(name, target, option.value, document.locate((index,)))
        return _choice(name, target, place, options)
    if not isinstance(document.data, Mapping):
        raise InvalidInputError(
            f"{place}: `search.{name}` must be a range, `{{low: 0.1, high: 0.9}}`, or a list of values (got "
            f"{short(document.data)})."
        )
    entry = validate(RangeEntry, document, prefix=f"search.{name}.")
    low, high = (
        _checked(name, target, end, document.locate((key,))) for key, end in (("low", entry.low), ("high", entry.high))
    )
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise InvalidInputError(f"{place}: `search.{name}` takes no range (got {low!r} to {high!r}). List its values.")
    if type(low) is not type(high):
        raise InvalidInputError(
            f"{place}: `search.{name}`: of this field whole numbers and fractions mean different things, so both ends must be of "
            f"one kind (got {entry.low} and {entry.high}). Write {float(entry.low)} and {float(entry.high)} for fractions."
        )
    if low >= high:
        raise InvalidInputError(f"{place}: `search.{name}`: `low` must be below `high` (got {low} and {high}).")
    step = entry.step
    if entry.log and (low <= 0 or step is not None):
        raise InvalidInputError(
            f"{place}: `search.{name}`: `log` takes a `low` above 0 and no `step` (got low {low}, step {step})."
        )
    if isinstance(low, int) and isinstance(step, float):
        raise InvalidInputError(
            f"{place}: `search.{name}`: the field takes whole numbers, so `step` must be one (got {step})."
        )
    return Range(target.path, name, place, low, high, step, entry.log)


def _parts(name: str, target: _Target, document: Document) -> Choice:
    """Read options of a kind: names, mappings of name, parameters and ``search``, and lists of several parts together."""
    (kind,), place = target.path, document.locate(())
    options = []
    for index, value in enumerate(document.data if isinstance(document.data, list) else ()):
        part = document.at(index)
        if isinstance(value, list) and kind in SEVERAL:
            for number in range(len(value)):
                read_part(kind, part.at(number))
            names = tuple(str(one["name"] if isinstance(one, Mapping) else one) for one in value)
            options.append(Option(label_of(value), value, names))
        else:
            options.append(_option(name, kind, part))  # type: ignore[arg-type]
    return _choice(name, target, place, options)


def _option(name: str, kind: Kind, document: Document) -> Option:
    value: Any = document.data
    inside: Space = ()
    if isinstance(value, Mapping) and "search" in value:
        value = {key: each for key, each in value.items() if key != "search"}
    read_part(kind, replace(document, data=value))
    label, values = label_of(value), value if isinstance(value, Mapping) else {"name": value}
    if isinstance(document.data, Mapping) and "search" in document.data:
        owner, nested = part_of(kind, value)[0], document.at("search")
        if not isinstance(nested.data, Mapping) or not nested.data:
            raise InvalidInputError(
                f"{nested.locate(())}: `search` of {label!r} must map its fields to ranges and lists."
            )
        inside = tuple(
            _field(
                f"{name}[{label}].{field}",
                _Target(
                    (kind, str(field)),
                    _having(owner, str(field), nested.locate((field,), at_key=True), f"{name}.{field}"),
                ),
                nested.at(field),
            )
            for field in nested.data
        )
    return Option(label, value, (str(values["name"]),), inside)


def _choice(name: str, target: _Target, place: str, options: Sequence[Option]) -> Choice:
    labels = [one.label for one in options]
    if len(set(labels)) < max(2, len(labels)):
        raise InvalidInputError(
            f"{place}: `search.{name}` must be a list of at least two different options (got {short(labels)})."
        )
    return Choice(target.path, name, place, tuple(options))


def _checked(name: str, target: _Target, value: Any, place: str) -> Any:
    """Return a value as the field has it, which may turn a whole number into a float.

    Raises:
        InvalidInputError: the field does not take it.
    """
    assert target.owner is not None
    field, info = target.path[-1], target.owner.model_fields[target.path[-1]]
    alone: Any = create_model("Alone", __base__=Parameters, **{field: (info.annotation, info)})  # type: ignore[call-overload]
    try:
        return getattr(validate(alone, {field: value}, prefix=f"search.{name.removesuffix(field)}"), field)
    except HeadRouterError as error:
        raise InvalidInputError("\n".join(f"{place}: {line}" for line in str(error).splitlines())) from error


def _unknown(place: str, key: str, name: str, known: Sequence[str]) -> InvalidInputError:
    return InvalidInputError(f"{place}: `search.{key}`: {unknown_name(name, known)}")
