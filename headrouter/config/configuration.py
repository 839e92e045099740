"""Validate parameters of components, with errors that name the rule, the place and a correction.

>>> from pydantic import Field
>>> class Example(Parameters):
...     steps: Annotated[int, Field(ge=1, description="number of steps")] = 28
>>> validate(Example, {"step": 10, "steps": 0})
Traceback (most recent call last):
    ...
headrouter.errors.InvalidInputError: `steps`: Input should be greater than or equal to 1 (got 0)
`step`: unknown name (got 10). Did you mean `steps`?
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from reprlib import Repr
from types import UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, RootModel, ValidationError, model_validator
from pydantic_core import CoreSchema, ErrorDetails

from headrouter import renamed
from headrouter.config.yaml_document import Document
from headrouter.errors import InvalidInputError

__all__ = ["Override", "Parameters", "Placed", "overridden", "unknown_name", "validate"]

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]

_STRICT: Final = frozenset({"int", "float", "bool", "str"})
_LONGEST_VALUE: Final = 60


def _make_scalars_strict(schema: Any) -> None:
    """Make scalars of a schema strict, since pydantic's own ``strict=True`` would refuse a list for a tuple."""
    if isinstance(schema, dict):
        if schema.get("type") in _STRICT:
            schema.setdefault("strict", True)
        for key, part in schema.items():
            if key not in ("default", "metadata"):
                _make_scalars_strict(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _make_scalars_strict(part)


class Parameters(BaseModel):
    """Holds a component's parameters: frozen, no unknown names, finite numbers.

    Numbers, text and truth values are never converted into one another (``True`` is not 1, ``"3"`` is not 3); an
    integer is accepted where a float is wanted, and a list where a tuple is. Numbers of NumPy are taken for Python's.
    """

    renamed_fields: ClassVar[Mapping[str, str]] = {}
    """Old names of fields, and their new ones: for one release both are taken, the old one with a warning."""
    needs_beside: ClassVar[str] = ""
    """Another thing that a run with these parameters needs, such as ``a data set``; a page does not offer the part then."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _make_scalars_strict(schema)
        return schema

    @model_validator(mode="before")
    @classmethod
    def _read_old_names_and_numbers(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        data = renamed.taken(cls.__name__, cls.renamed_fields, data)
        return {
            name: type(value)(map(python_number, value)) if type(value) in (list, tuple) else python_number(value)
            for name, value in data.items()
        }


def python_number(value: Any) -> Any:
    """Return a number of NumPy as Python's, anything else as it is.

    >>> import numpy
    >>> python_number(numpy.int64(3)), python_number(numpy.bool_(True)), python_number("3")
    (3, True, '3')
    """
    numpy = sys.modules.get("numpy")  # not imported for this alone
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


@dataclass(frozen=True, slots=True)
class Override:
    """Holds one ``--set``: the value to put at a path."""

    path: tuple[str, ...]
    value: Any

    @property
    def origin(self) -> str:
        """Return its name in messages."""
        return f"--set {'.'.join(self.path)}"


@dataclass(frozen=True, slots=True)
class Placed(Override):
    """Holds a value to put at a path, and its place: a line of a file, or an option."""

    place: str = ""

    @property
    def origin(self) -> str:
        """Return its name in messages."""
        return self.place


def overridden(document: Document, override: Override) -> Document:
    """Return a document with a value put at a path, which is named as the place of errors there.

    Raises:
        InvalidInputError: the path leads through a value that has no parts.
    """
    data = _put(document.data, override)
    return replace(document, data=data, replaced=(*document.replaced, (override.path, override.origin)))


def validate(
    model: type[Model], data: Mapping[str, Any] | Document, overrides: Sequence[Override] = (), *, prefix: str = ""
) -> Model:
    """Build ``model`` from plain data.

    Args:
        model: a pydantic model, usually a subclass of :class:`Parameters`.
        data: a mapping, or YAML with positions.
        overrides: values that replace those in ``data``, in order.
        prefix: for names in messages, ``dataset.``, where ``data`` is a part of more.

    Raises:
        InvalidInputError: all errors at once, one on each line: place, name, rule, value, and a likely correction.
    """
    document = data if isinstance(data, Document) else None
    tree = document.data if document is not None else data
    tree = {} if tree is None else tree
    for override in overrides:
        tree = _put(tree, override)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        lines = [
            _explain(details, model, tree, document, overrides, prefix) for details in error.errors(include_url=False)
        ]
        raise InvalidInputError("\n".join(lines)) from error


def _put(tree: Any, override: Override, depth: int = 0) -> Any:
    """Return ``tree`` with the value at the path below ``depth`` replaced; the one given stays as it is."""
    if depth == len(override.path):
        return override.value
    part, where = override.path[depth], f"`{'.'.join(override.path[:depth]) or 'document'}`"
    if isinstance(tree, list):
        if not part.isdecimal() or int(part) >= len(tree):
            raise InvalidInputError(f"{override.origin}: {where} is a list of {len(tree)}, it has no item {part!r}.")
        index = int(part)
        return [*tree[:index], _put(tree[index], override, depth + 1), *tree[index + 1 :]]
    if tree is None or isinstance(tree, Mapping):
        tree = tree or {}
        return {**tree, part: _put(tree.get(part), override, depth + 1)}
    raise InvalidInputError(f"{override.origin}: {where} is {_shorten(tree)}, which has no parts to set.")


def _explain(
    details: ErrorDetails,
    model: type[BaseModel],
    tree: Any,
    document: Document | None,
    overrides: Sequence[Override],
    prefix: str,
) -> str:
    kind, path = details["type"], _real_path(details["loc"], tree, details["type"])
    origin = _origin(path, kind, document, overrides)
    name = prefix + ".".join(map(str, path)) if path else prefix.rstrip(".")
    place = f"{origin}: " if origin else ""
    field = f"`{name}`: " if name else ""
    value = "" if kind == "missing" else f" (got {_shorten(details['input'])})"
    if kind == "extra_forbidden":
        return f"{place}{field}{unknown_name(str(path[-1]), sorted(_names_at(model, path[:-1])), value)}"
    rule = re.sub(r"^(Value|Assertion) error, ", "", details["msg"])
    expected = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
    close = get_close_matches(details["input"], expected, n=1) if isinstance(details["input"], str) else []
    advice = f". Did you mean {close[0]!r}?" if close else ""
    return f"{place}{field}{rule}{value}{advice}"


def unknown_name(name: str, known: Sequence[str], value: str = "") -> str:
    """Return that a name is unknown, with the one that is likely meant, or else all that are known.

    >>> unknown_name("step", ["steps", "seed"]), unknown_name("x", ["steps", "seed"])
    ('unknown name. Did you mean `steps`?', 'unknown name. Known: steps, seed.')
    """
    close = get_close_matches(name, known, n=1)
    advice = f" Did you mean `{close[0]}`?" if close else f" Known: {', '.join(known)}." if known else ""
    return f"unknown name{value}.{advice}"


def _real_path(location: Path, tree: Any, kind: str) -> Path:
    """Return the path within the data, without the tag of a union, with the name of a missing field."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        in_mapping = isinstance(tree, Mapping) and part in tree
        in_list = isinstance(tree, list | tuple) and isinstance(part, int) and part < len(tree)
        if in_mapping or in_list:
            tree = tree[part]
        elif kind != "missing" or index < len(location) - 1:
            continue
        path.append(part)
    return tuple(path)


def _origin(path: Path, kind: str, document: Document | None, overrides: Sequence[Override]) -> str:
    texts = tuple(map(str, path))
    for override in reversed(overrides):
        if texts[: len(override.path)] == override.path:
            return override.origin
    return document.locate(path, at_key=kind == "extra_forbidden") if document is not None else ""


def _names_at(annotation: Any, path: Path) -> set[str]:
    """Return the field names of every model that may stand at ``path`` below ``annotation``."""
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _names_at(annotation.model_fields["root"].annotation, path)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return set(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return _names_at(field.annotation, path[1:]) if field else set()
    origin = get_origin(annotation)
    if origin is None or origin is Literal:
        return set()
    inside = path if origin in (Union, UnionType, Annotated) else path[1:]
    if inside is not path and not path:
        return set()
    return {name for argument in get_args(annotation) for name in _names_at(argument, inside)}


_repr = Repr()  # repr() of what YAML's aliases share, or nest, takes for ever
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict = 4, 20, 20, 20
_repr.maxstring = _repr.maxlong = _repr.maxother = 4 * _LONGEST_VALUE


def _shorten(value: Any) -> str:
    text = _repr.repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
