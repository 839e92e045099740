"""Read the combinations that a matrix leaves out, described by a part of what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrouter.config.configuration import Parameters
from headrouter.config.yaml_document import Document
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.composing import Knobs, part_of
from headrouter.experiments.file.options import Option
from headrouter.experiments.file.sweep import short
from headrouter.masks.mask import Mask
from headrouter.masks.part import described
from headrouter.plugins.specifications import KINDS, Kind


@dataclass
class Exclusion:
    """Describes combinations to leave out, and counts those that it met.

    Attributes:
        given: The mapping of the file.
        place: Its place.
        parts: For each kind, the classes and parameters of which a part must have one.
        knobs: Values that the knobs must have.
        count: Combinations that were left out.
    """

    given: Mapping[str, Any]
    place: str
    parts: Mapping[Kind, Sequence[tuple[type[Parameters], Mapping[str, Any]]]]
    knobs: Mapping[str, Any]
    count: int = field(default=0)

    def matches(self, options: Mapping[Kind, Option], knobs: Knobs) -> bool:
        """Return whether a combination is to be left out, because every key of the mapping is met."""
        met = all(
            any(_is(part, kind_class, values) for part in options[kind].parts for kind_class, values in choices)
            for kind, choices in self.parts.items()
        ) and all(getattr(knobs, name) == value for name, value in self.knobs.items())
        self.count += met
        return met


def read_exclusions(document: Document, axes: Mapping[Kind, Sequence[Option]]) -> list[Exclusion]:
    """Read ``exclude``: a list of mappings from kinds to names, or mappings of name and parameters, and of knobs to values.

    Raises:
        InvalidInputError: it is no such list, or names parts, parameters or knobs that do not exist.
    """
    if not isinstance(document.data, list):
        raise InvalidInputError(
            f"{document.locate(())}: `matrix.exclude` must be a list of mappings, such as `- {{inversion: flowedit, method: "
            f"headrouter}}` (got {short(document.data)})."
        )
    found, wrong = list[Exclusion](), list[str]()
    for index in range(len(document.data)):
        part = document.at(index)
        try:
            found.append(_read(part))
        except HeadRouterError as error:
            wrong += [f"{part.locate(())}: `matrix.exclude`: {line}" for line in str(error).splitlines()]
    if wrong:
        raise InvalidInputError("\n".join(wrong))
    return found


def _read(document: Document) -> Exclusion:
    given = document.data
    if not isinstance(given, Mapping) or not given:
        raise InvalidInputError(f"must be a mapping from kinds of part to names (got {short(given)}).")
    knobs = [name for name in Knobs.model_fields if name != "seed"]
    if unknown := [name for name in given if name not in (*KINDS, *knobs)]:
        raise InvalidInputError(f"`{unknown[0]}` is unknown. Known: {', '.join((*KINDS, *knobs))}.")
    parts = {kind: [_part(kind, one) for one in _several(given[kind])] for kind in KINDS if kind in given}
    return Exclusion(given, document.locate(()), parts, {name: given[name] for name in knobs if name in given})


def _part(kind: Kind, value: Any) -> tuple[type[Parameters], Mapping[str, Any]]:
    found, values = part_of(kind, value)
    if unknown := [name for name in values if name not in found.model_fields]:
        raise InvalidInputError(
            f"`{kind}.{unknown[0]}`: unknown name. Known: {', '.join(sorted(found.model_fields)) or 'none'}."
        )
    return found, values


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is(part: Parameters, kind: type[Parameters], values: Mapping[str, Any]) -> bool:
    return type(part) is kind and all(_plain(getattr(part, name)) == value for name, value in values.items())


def _plain(value: Any) -> Any:
    if isinstance(value, Mask):
        return described(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
