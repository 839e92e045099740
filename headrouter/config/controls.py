"""Turn the fields of a pydantic model into controls that a page or a node shows, and their values back into parameters.

>>> from pydantic import BaseModel, Field
>>> class Example(BaseModel):
...     strength: float = Field(0.5, ge=0, le=1, description="How much.")
...     start: int | float = 0
>>> strength, start = controls_of(Example)
>>> strength.kind, strength.default, strength.minimum, strength.maximum, strength.help
('number', 0.5, 0, 1, 'How much.')
>>> start.kind, start.read("0.25")
('value', 0.25)
>>> given((strength, start), {"strength": 0.5, "start": "6"})
{'start': 6}
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import yaml
from pydantic import BaseModel

from headrouter.config.yaml_document import parse_yaml

ControlKind = Literal["boolean", "integer", "number", "choice", "text", "mask", "masks", "value"]
"""Kinds of controls. ``value`` is any other: a step or a fraction, a list, a union, written as YAML in one line."""

MASK: Final = "mask"
"""JSON Schema ``format`` of the text that a mask may be given as."""

_SIMPLE: Final[Mapping[str, ControlKind]] = {
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "string": "text",
}
_WIDEST: Final = 1_000_000


@final
@dataclass(frozen=True, slots=True)
class Control:
    """Describes a field of a pydantic model by what a page or a node needs to show it.

    Attributes:
        name: Name of the field.
        kind: Kind of the control.
        default: Value of the field where the user gives none, as plain data; None if it is required.
        help: Description of the field, or an empty text.
        minimum, maximum: Bounds of a number, None where there is none. A bound that a float must not reach is one too: the model
            refuses it.
        choices: Values of a choice, and values of another kind that have a name.
        optional: Whether None is a value, which says "not given".
        required: Whether there is no default.
    """

    name: str
    kind: ControlKind
    default: Any = None
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    required: bool = False

    def shown(self, value: Any) -> str:
        """Return a value as one line of text, from which :meth:`read` gives it back; None is an empty text."""
        if value is None or isinstance(value, str):
            return value or ""
        text: str = yaml.safe_dump(value, default_flow_style=True, width=_WIDEST, allow_unicode=True, sort_keys=False)
        return text.removesuffix("\n").removesuffix("\n...")

    def read(self, value: Any) -> Any:
        """Return the value of the field for the content of its control: an empty text is the default.

        A number may be typed as text, since few components of numbers can be empty.

        >>> steps = Control("steps", "integer", optional=True)
        >>> steps.read("12"), steps.read(" "), steps.read(3)
        (12, None, 3)

        Raises:
            InvalidInputError: text of a number or a ``value`` is no YAML.
        """
        if not isinstance(value, str):
            return value
        if self.kind in ("integer", "number", "value") and value.strip():
            return parse_yaml(value, f"`{self.name}`").data
        return value if value.strip() else self.default


def controls_of(model: type[BaseModel]) -> tuple[Control, ...]:
    """Return a control for each field of a model that its JSON Schema has, in their order."""
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return tuple(_control(name, own, name in required) for name, own in schema.get("properties", {}).items())


def given(controls: Iterable[Control], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from the defaults, to validate a model with.

    A value that is left out is one that the user did not set: presets, and the mask of an edit, fill those fields alone.

    Args:
        controls: Controls of the model.
        values: Contents of the controls; some may be missing.
    """
    read = {one.name: (one, one.read(values[one.name])) for one in controls if one.name in values}
    return {name: value for name, (one, value) in read.items() if one.required or not _same(one, value)}


def _same(control: Control, value: Any) -> bool:
    """Return whether a value is the default; as text where 1 (a step) and 1.0 (all steps) are different."""
    if control.kind == "value":
        return control.shown(value) == control.shown(control.default)
    return bool(value == control.default)


def _control(name: str, schema: Mapping[str, Any], required: bool) -> Control:
    every: Sequence[Mapping[str, Any]] = schema.get("anyOf", (schema,))
    options = [one for one in every if one.get("type") != "null"]
    kind = _kind(options)
    bounds: tuple[float | None, float | None] = (None, None)
    if kind in ("integer", "number"):
        beyond = 1 if kind == "integer" else 0  # an excluded whole number has a neighbour
        low, high = options[0].get("exclusiveMinimum"), options[0].get("exclusiveMaximum")
        bounds = (
            options[0].get("minimum") if low is None else low + beyond,
            options[0].get("maximum") if high is None else high - beyond,
        )
    choices = tuple(value for one in options for value in one.get("enum", [one["const"]] if "const" in one else []))
    optional, default = len(options) < len(every), schema.get("default")
    if kind == "text" and optional and default is not None:
        kind = "value"  # an empty text is the default, and None is written as null
    return Control(name, kind, default, schema.get("description", ""), *bounds, choices, optional, required)


def _kind(options: Sequence[Mapping[str, Any]]) -> ControlKind:
    if _takes_mask(options):
        return "mask"
    if len(options) > 1:
        return "value"
    (only,) = options
    if only.get("type") == "array" and _takes_mask(only.get("items", {}).get("anyOf", ())):
        return "masks"
    return "choice" if "enum" in only or "const" in only else _SIMPLE.get(only.get("type", ""), "value")


def _takes_mask(options: Iterable[Mapping[str, Any]]) -> bool:
    return any(one.get("format") == MASK for one in options)
