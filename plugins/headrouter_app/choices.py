"""List what a page offers for a loaded model: parts by name, their controls, and presets."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from headrouter.config.controls import Control, controls_of
from headrouter.editing.assembly import part_class, refuse_misfits
from headrouter.editing.tuning import field_of
from headrouter.errors import IncompatibleError
from headrouter.experiments.composing import DEFAULTS, Knobs
from headrouter.masks.mask import NoMask
from headrouter.masks.picture import PictureMask
from headrouter.methods.head_router.method import NoMethod
from headrouter.plugins import registry
from headrouter.plugins.schema import usable
from headrouter.plugins.specifications import ComponentSpec, Kind
from headrouter.sampling.velocity_operator import NoOperator
from headrouter_app.running import Studio

Chosen = Sequence[tuple[Kind, str]]
"""Kind and name of each part that a visitor chose."""
_BESIDE: Final = frozenset({"steps", "guidance"})
"""Parameters of inversions that the page has as knobs."""
FIRST: Final = ("steps", "guidance", "seed")
"""Knobs that are always in sight."""
_APART: Final = frozenset({"preset", "keep", "push"})
"""Knobs that depend on the parts."""


def offered(studio: Studio, kind: Kind) -> list[str]:
    """Return the names of the parts of a kind that fit the model and that a page can make.

    The method and the operator that do nothing are left out: choose none instead.
    """
    names = []
    for entry, _, _ in usable(kind):
        found = part_class(kind, entry.shortest_name)
        requires = entry.item.requires if isinstance(entry.item, ComponentSpec) else frozenset[str]()
        if issubclass(found, (NoMethod, NoOperator)) or not requires <= studio.provides or not _can_be_made(found):
            continue
        try:
            if kind != "mask":
                refuse_misfits(studio.provides, studio.backbone, (found(),))
        except (IncompatibleError, ValueError):  # it does not fit, or has a parameter that it cannot be made without
            continue
        names.append(entry.shortest_name)
    return names


def default(studio: Studio, kind: Kind) -> str:
    """Return the name of the part that a page begins with."""
    if kind == "method":
        name: str = part_class("inversion", studio.default_inversion).default_method
        return name
    return studio.default_inversion if kind == "inversion" else DEFAULTS[kind]


def is_drawn(mask: str) -> bool:
    """Return whether a mask is the visitor's own, who draws it."""
    return bool(mask) and issubclass(part_class("mask", mask), PictureMask)


def is_none(mask: str) -> bool:
    """Return whether a mask stands for none."""
    return not mask or issubclass(part_class("mask", mask), NoMask)


def takes_references(inversion: str) -> bool:
    """Return whether an inversion gives the model the picture as a reference, and prompts are instructions."""
    found: bool = part_class("inversion", inversion).takes_references
    return found


def controls(kind: Kind, name: str) -> list[Control]:
    """Return the controls of a part's parameters."""
    beside = _BESIDE if kind == "inversion" else ()
    return [one for one in controls_of(part_class(kind, name)) if one.name not in beside]


def knobs() -> list[Control]:
    """Return the controls of the knobs that every edit has, those that are turned most first."""
    about = "Number of all noise; several, such as 0, 1, 2, give an edit for each."
    seeds = Control("seed", "text", "0", about)
    every = [seeds if one.name == "seed" else one for one in controls_of(Knobs) if one.name not in _APART]
    return sorted(every, key=lambda one: one.name not in FIRST)


def dials(chosen: Chosen) -> list[Control]:
    """Return the controls of the knobs that depend on the chosen parts: their presets, and ``keep`` and ``push``.

    The last two are there where a part has a parameter that they set, with its range and help.
    """
    presets = dict.fromkeys(preset.name for kind, name in chosen for preset in registry().presets(kind, name))
    about = "Published or measured values."
    preset = Control("preset", "choice", None, about, choices=tuple(presets), optional=True)
    found = {"preset": preset} if presets else {}
    for kind, name in chosen:
        part = part_class(kind, name)()
        for knob in ("keep", "push"):
            field = field_of(knob, part)
            if field is not None and knob not in found:
                (own,) = (one for one in controls_of(type(part)) if one.name == field)
                text = f"{own.help} {own.default:g} if not given."
                found[knob] = replace(own, name=knob, default=None, help=text, optional=True)
    return [*found.values()]


def _can_be_made(part: Any) -> bool:
    """Return whether a visitor can give everything that a part cannot be made or run without; a picture is drawn."""
    required = [one for one in controls_of(part) if one.required]
    return not part.needs_beside and (issubclass(part, PictureMask) or all(one.kind != "text" for one in required))
