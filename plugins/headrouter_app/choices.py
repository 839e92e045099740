"""List what a page offers for a loaded model: parts by name, their controls, and presets."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from headrouter.config.controls import Control, controls_of
from headrouter.editing.assembly import name_of, part_class, refuse_misfits
from headrouter.editing.tuning import field_of
from headrouter.errors import HeadRouterError
from headrouter.experiments.composing import DEFAULTS, Knobs
from headrouter.masks.mask import NoMask
from headrouter.masks.picture import PictureMask
from headrouter.methods.head_router.method import NoMethod
from headrouter.plugins import registry
from headrouter.plugins.specifications import ComponentSpec, Kind
from headrouter.sampling.velocity_operator import NoOperator
from headrouter_app.running import Studio

Chosen = Sequence[tuple[Kind, str]]
"""Kind and name of each part that a visitor chose."""
_BESIDE: Final = frozenset({"steps", "guidance"})
"""Parameters that the page has as knobs, once for all parts."""
FIRST: Final = ("steps", "guidance", "seed")
"""Knobs that are always in sight."""
_APART: Final = frozenset({"preset", "keep", "push"})
"""Knobs that depend on the parts."""
_IDLE: Final = (NoMethod, NoOperator)


def offered(studio: Studio, kind: Kind) -> list[str]:
    """Return the names of the parts of a kind that fit the model and that a page can make."""
    names = []
    for entry in registry().entries(kind):
        spec = entry.item
        assert isinstance(spec, ComponentSpec)
        try:
            found = spec.load()
            fits = not issubclass(found, _IDLE) and spec.requires <= studio.provides and _can_be_made(found)
            if fits and kind != "mask":
                refuse_misfits(studio.provides, studio.backbone, (found(),))
        except (HeadRouterError, ValueError):
            continue
        if fits:
            names.append(name_of(kind, found()) if kind != "mask" else spec.name)
    return names


def default(studio: Studio, kind: Kind) -> str:
    """Return the name of the part that a page begins with."""
    return studio.default_inversion if kind == "inversion" else DEFAULTS[kind]


def is_drawn(mask: str) -> bool:
    """Return whether a mask is the visitor's own, who draws it."""
    return bool(mask) and issubclass(part_class("mask", mask), PictureMask)


def is_none(mask: str) -> bool:
    """Return whether a mask stands for none."""
    return not mask or issubclass(part_class("mask", mask), NoMask)


def controls(kind: Kind, name: str) -> list[Control]:
    """Return the controls of a part's parameters; none of a mask that is drawn."""
    found = part_class(kind, name)
    return [] if issubclass(found, PictureMask) else [one for one in controls_of(found) if one.name not in _BESIDE]


def knobs() -> list[Control]:
    """Return the controls of the knobs that every edit has, those that are turned most first."""
    every = [one for one in controls_of(Knobs) if one.name not in _APART]
    return sorted(every, key=lambda one: one.name not in FIRST)


def dials(chosen: Chosen) -> list[Control]:
    """Return the controls of the chosen parts' knobs, each with the range and help of its parameter."""
    found: dict[str, Control] = {}
    for kind, name in chosen:
        part = _instance(kind, name)
        for knob in ("keep", "push"):
            field = None if part is None else field_of(knob, part)
            if field is not None and knob not in found:
                (own,) = (one for one in controls_of(type(part)) if one.name == field)
                text = f"{own.help} {own.default:g} if not given."
                found[knob] = Control(knob, own.kind, None, text, own.minimum, own.maximum, optional=True)
    return [*found.values()]


def presets(chosen: Chosen) -> list[str]:
    """Return the names of the presets of the chosen parts, each once."""
    names = [preset.name for kind, name in chosen for preset in registry().presets(kind, name)]
    return [*dict.fromkeys(names)]


def _instance(kind: Kind, name: str) -> Any:
    found = part_class(kind, name)
    return None if any(one.required for one in controls_of(found)) else found()


def _can_be_made(part: Any) -> bool:
    """Return whether the page has a control for everything that a part cannot be made without."""
    return issubclass(part, PictureMask) or not _texts(one for one in controls_of(part) if one.required)


def _texts(controls: Iterable[Control]) -> bool:
    return any(one.kind == "text" for one in controls)
