"""Make the components of a page from controls, each with its range and its help."""

from collections.abc import Mapping
from typing import Any, Final

import gradio as gr

from headrouter.config.controls import Control

_SLID: Final = 1_000
"""Widest range of a number that is slid; others are typed."""
_NOT_GIVEN: Final = "not given"


def widget(control: Control, name: str, contents: Mapping[str, Any] | None = None) -> Any:
    """Return the component of a control.

    Args:
        control: What to show.
        name: Of the component.
        contents: Contents to begin with, by name; the default where there is none.
    """
    contents = contents or {}
    shared: dict[str, Any] = {"label": title(control.name), "info": information(control), "elem_id": name}
    shared |= {"key": name, "min_width": 110, "interactive": True}
    if control.kind == "boolean" and not control.optional:
        return gr.Checkbox(contents.get(name, bool(control.default)), **shared)
    if control.kind in ("boolean", "choice"):
        none = "" if control.default is None else None  # an empty text is the default; None would be shown as nothing
        named: list[Any] = [("yes", True), ("no", False)] if control.kind == "boolean" else [*control.choices]
        named = [(_NOT_GIVEN, none), *named] if control.optional else named
        own = none if control.default is None else control.default
        return gr.Dropdown(named, value=contents.get(name, own), filterable=False, **shared)
    if control.kind in ("integer", "number") and control.default is not None:
        whole, value = control.kind == "integer", contents.get(name, control.default)
        limits: dict[str, Any] = {"minimum": control.minimum, "maximum": control.maximum}
        if None not in limits.values() and _width(control) <= _SLID:
            return gr.Slider(value=value, step=1 if whole else 0.01, **limits, **shared)
        return gr.Number(value, precision=0 if whole else None, **limits, **shared)
    text = contents.get(name, control.shown(control.default))
    return gr.Textbox(text, placeholder=_NOT_GIVEN, max_lines=1, **shared)


def title(name: str) -> str:
    """Return the name of a parameter in words.

    >>> title("hold_source")
    'hold source'
    """
    return name.replace("_", " ")


def information(control: Control) -> str:
    """Return the help of a control, with the range of a number.

    >>> information(Control("gamma", "number", 0.5, "How far.", 0, 1)), information(Control("steps", "integer", minimum=1))
    ('How far. (0 to 1)', '(from 1)')
    """
    low, high = control.minimum, control.maximum
    if low is None:
        bounds = "" if high is None else f"(up to {high:g})"
    else:
        bounds = f"(from {low:g})" if high is None or high >= 2**31 - 1 else f"({low:g} to {high:g})"
    return " ".join(filter(None, (control.help, bounds)))


def _width(control: Control) -> float:
    assert control.minimum is not None and control.maximum is not None
    return control.maximum - control.minimum
