"""Turn controls of parameters into inputs of a node, and what the node receives back into parameters."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from headrouter.config.controls import Control, given
from headrouter_comfy.node import MASK
from headrouter_comfy.tensors import mask_of_tensor

NOT_GIVEN: Final = -1
"""Number that says "not given" for a number that may be left out; none of them goes below 0."""
DEFAULT: Final = "default"
"""Choice that says "not given"."""
SOCKETS: Final = 4
"""Sockets of a parameter that takes several masks."""

_LARGEST_WHOLE: Final = 2**53 - 1  # beyond, the page's numbers are not exact
_LARGEST: Final = 1e6
_STEP: Final = 0.01
_PRECISION: Final = 1e-6
_TRUTH: Final[Mapping[str, bool]] = {"yes": True, "no": False}


def inputs_of(io: Any, controls: Iterable[Control]) -> list[Any]:
    """Return the inputs of a node that shows these controls.

    What has a default is optional, so that a saved graph still runs when a parameter is added.
    """
    return [one for control in controls for one in _inputs(io, control)]


def values_of(controls: Iterable[Control], received: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the user set, from what a node received.

    Raises:
        InvalidInputError: text that should be YAML is none, or a mask cannot be read.
    """
    controls = list(controls)
    values = {one.name: _value(one, received) for one in controls if _is_there(one, received)}
    return given(controls, values)


def _inputs(io: Any, control: Control) -> list[Any]:
    about: dict[str, Any] = {"tooltip": _help(control), "optional": not control.required}
    if control.kind == "mask":
        return [mask_input(io, control.name, **about)]
    if control.kind == "masks":
        first, *more = _socket_names(control)
        return [mask_input(io, first, **about), *(mask_input(io, one, **about | {"optional": True}) for one in more)]
    return [_widget(io, control, about)]


def mask_input(io: Any, name: str, *, optional: bool, tooltip: str) -> Any:
    """Return an input that takes a mask of this package or ComfyUI's own MASK."""
    return io.MultiType.Input(name, types=[io.Custom(MASK), io.Mask], optional=optional, tooltip=tooltip)


def _widget(io: Any, control: Control, about: Mapping[str, Any]) -> Any:
    name, default = control.name, control.default
    if _is_choice(control):
        choices = control.choices or tuple(_TRUTH)
        options = [DEFAULT, *choices] if control.optional else list(choices)
        return io.Combo.Input(name, options=options, default=options[0] if default is None else default, **about)
    if control.kind == "boolean":
        return io.Boolean.Input(name, default=default, **about)
    if _is_number(control):
        whole = control.kind == "integer"
        most: float = _LARGEST_WHOLE if whole else _LARGEST
        low = NOT_GIVEN if control.optional else -most if control.minimum is None else control.minimum
        high = most if control.maximum is None else min(most, control.maximum)
        start = NOT_GIVEN if default is None else default
        if whole:
            return io.Int.Input(name, default=start, min=int(low), max=int(high), **about)
        bounds = {"min": float(low), "max": float(high), "step": _STEP, "round": _PRECISION}
        return io.Float.Input(name, default=float(start), **bounds, **about)
    return io.String.Input(name, default=control.shown(default), **about)


def _is_there(control: Control, received: Mapping[str, Any]) -> bool:
    names = _socket_names(control) if control.kind == "masks" else [control.name]
    return any(received.get(name) is not None for name in names)


def _value(control: Control, received: Mapping[str, Any]) -> Any:
    """Return the content of a control that is there, None where it says "not given"."""
    if control.kind == "masks":
        masks = [received.get(name) for name in _socket_names(control)]
        return [mask_of_tensor(one) for one in masks if one is not None]
    value = received[control.name]
    if control.kind == "mask":
        return mask_of_tensor(value)
    if control.optional and _is_choice(control):
        return None if value == DEFAULT else _TRUTH.get(value, value) if control.kind == "boolean" else value
    if control.optional and _is_number(control):
        return None if value == NOT_GIVEN else value
    return value


def _is_choice(control: Control) -> bool:
    return control.kind == "choice" or (control.kind == "boolean" and control.optional)


def _is_number(control: Control) -> bool:
    """Return whether a number has a widget of numbers: one that may be left out needs a number that says so."""
    free = not control.optional or (control.minimum is not None and control.minimum > NOT_GIVEN)
    return control.kind in ("integer", "number") and free


def _socket_names(control: Control) -> list[str]:
    return [f"{control.name}_{number}" for number in range(1, SOCKETS + 1)]


def _help(control: Control) -> str:
    notes = [control.help.replace("``", "`")]
    if control.optional and _is_number(control):
        notes.append(f"{NOT_GIVEN}: not given.")
    if control.kind == "value":
        named = f" or {', '.join(control.choices)}" if control.choices else ""
        notes.append(f"Written as YAML{named}: 6, 0.25, [1, 2]; empty: not given.")
    return " ".join(note for note in notes if note)
