"""Give parts the value of a knob, in whichever of their fields stands for it."""

from collections.abc import Sequence
from typing import Any

from headrouter.config.configuration import Parameters
from headrouter.editing.assembly import changed
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.method import Method
from headrouter.sampling.inversion import Inversion


def with_knob(
    knob: str, value: float | None, inversion: Inversion, methods: Sequence[Method]
) -> tuple[Inversion, tuple[Method, ...]]:
    """Set a knob (``keep``, ``push``) on the first part that has it; None leaves it.

    Raises:
        IncompatibleError: no part has it.
        InvalidInputError: the value is out of range.
    """
    if value is None:
        return inversion, tuple(methods)
    try:
        if field := field_of(knob, inversion):
            return changed(inversion, {field: value}), tuple(methods)
        for place, method in enumerate(methods):
            if field := field_of(knob, method):
                return inversion, (*methods[:place], changed(method, {field: value}), *methods[place + 1 :])
    except InvalidInputError as error:
        raise InvalidInputError(f"`{knob}` cannot be {value!r}: {error}") from error
    names = ", ".join(type(part).__name__ for part in (inversion, *methods))
    raise IncompatibleError(f"`{knob}` has no meaning here: none of the parts ({names}) has such a knob. Leave it out.")


def field_of(knob: str, part: Parameters) -> str | None:
    """Return the field that a part has for a knob, or None."""
    for field, info in type(part).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("knob") == knob:
            when: Any = extra.get("when", {})
            return field if all(getattr(part, name) == value for name, value in when.items()) else None
    return None
