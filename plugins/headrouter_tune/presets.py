"""Turn a configuration that a search found into the file of a preset, and into a command line."""

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from headrouter.editing.assembly import model_of
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.file.entries import entry_of
from headrouter.masks.part import described, expression_of
from headrouter.plugins.preset_file import PresetFile

_KINDS: Final = ("inversion", "operator", "method")


def preset_of(configuration: Configuration, name: str, provenance: str) -> PresetFile:
    """Return the preset that gives the parts of a configuration their values, on the same backbone.

    Raises:
        InvalidInputError: two parts of one name, or a part that no plug-in registers: no preset can tell them apart.
    """
    values: dict[str, dict[str, dict[str, Any]]] = {}
    for kind, entry in _entries(configuration):
        part = {**entry}
        name_of_part = part.pop("name")
        if name_of_part in values.get(kind, {}):
            raise InvalidInputError(f"two parts are {kind} {name_of_part!r}, which a preset cannot tell apart.")
        if configuration.mask is not None and part.get("mask") == described(configuration.mask):
            del part["mask"]  # it is given beside the preset
        values.setdefault(kind, {})[name_of_part] = {key: _short(value) for key, value in part.items()}
    inversion = next(iter(values["inversion"].values()))
    defaults = model_of(configuration.backbone_name, configuration.model)[1]
    if defaults is None or defaults.steps != configuration.steps:
        inversion["steps"] = configuration.steps
    if defaults is None or defaults.guidance != configuration.guidance:
        inversion["guidance"] = configuration.guidance
    plain = {"name": slug(name), "reference_steps": configuration.steps, "provenance": provenance, "values": values}
    return PresetFile.model_validate(plain)


def command_of(configuration: Configuration, file: str) -> str:
    """Return the command that edits a picture by a configuration with its preset's file."""
    entries = _entries(configuration)
    words = ["headrouter", "edit", "photo.png", "--source", "...", "--prompt", "..."]
    words += ["--backbone", configuration.backbone_name, "--model", configuration.model]
    for kind, entry in entries:
        words += [f"--{kind}", entry["name"]]
    if not configuration.methods:
        words += ["--method", "none"]
    if configuration.mask is not None:
        words += ["--mask", expression_of(configuration.mask)]
    if configuration.size is not None:
        words += ["--size", "x".join(map(str, configuration.size))]
    if configuration.negative_prompt:
        words += ["--negative", configuration.negative_prompt]
    if configuration.strength:
        words += ["--strength", configuration.strength]
    if configuration.paste:
        words += ["--paste", "--feather", str(configuration.feather)]
    return shlex.join([*words, "--preset", file])


def slug(text: str) -> str:
    """Return a text as the name of a preset.

    >>> slug("My flow 007 last_steps=0.5")
    'my-flow-007-last_steps-0.5'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "tuned"


def _entries(configuration: Configuration) -> list[tuple[str, Mapping[str, Any]]]:
    """Return kind, name and parameters of each part."""
    entry = entry_of(configuration)
    if not entry:
        raise InvalidInputError("it has a part that no plug-in registers.")
    (one,) = entry["configurations"]
    given = {kind: one.get(kind, []) for kind in _KINDS}
    parts = [(kind, part) for kind, some in given.items() for part in (some if isinstance(some, list) else [some])]
    return [(kind, part if isinstance(part, Mapping) else {"name": part}) for kind, part in parts if part != "none"]


def _short(value: Any) -> Any:
    """Return the name of a part without parameters, anything else as it is."""
    return value["name"] if isinstance(value, Mapping) and list(value) == ["name"] else value
