"""Compare the parts that ``model_index.json`` names with those that the pipeline class takes."""

import inspect
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import diffusers
import transformers

from headrouter.errors import IncompatibleError, WeightsError
from headrouter.files import unreadable
from headrouter.plugins import registry
from headrouter_diffusers import compat
from headrouter_diffusers.components.fitness import declared_parts, lacking
from headrouter_diffusers.components.schedulers import refuse_scheduler

INDEX = "model_index.json"
_LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
_TYPES = (
    ((bool,), "true or false"),
    ((str,), "a text"),
    ((list, tuple), "a list"),
    ((int, float), "a number"),
)
_LARGEST = 2**20
"""Bytes of the largest configuration that is read; released ones have a few thousand."""


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        WeightsError: it cannot be read, or holds something else.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
        content = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise WeightsError(unreadable(file, error)) from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file} is damaged: {error}. Fetch it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} does not describe anything: it holds no JSON object. Fetch it again.")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number that a configuration can hold")


def check_types(source: str, part: str, kind: Any, configuration: Mapping[str, Any]) -> None:
    """Check values of a configuration against the defaults of the class: a text is no switch, a number no list.

    Args:
        source: Hub id or folder, for messages.
        part: Name of the part.
        kind: A class of diffusers, whose constructor takes the values.
        configuration: Content of its file.

    Raises:
        WeightsError: a value is of another type than its default.
    """
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        value, default = configuration.get(name, parameter.default), parameter.default
        for types, rule in _TYPES:
            if isinstance(default, types):
                if not isinstance(value, types) and not (value is None and types == (int, float)):
                    raise WeightsError(
                        f"`model` {source!r} has {value!r} as `{name}` of its {part!r}, which must be {rule}. Fetch it again."
                    )
                break


def check_kind(source: str, index: Mapping[str, Any], backbone: str, wanted: type) -> None:
    """Check that the index is that of a ``wanted`` pipeline; otherwise name the backbone that drives it, if any does.

    Raises:
        IncompatibleError: it is another pipeline.
    """
    found = str(index.get("_class_name"))
    if found != wanted.__name__:
        advice = driver(index, source, backbone) or f"Backbone '{backbone}' drives {wanted.__name__}."
        raise IncompatibleError(f"`model` {source!r} is a {found}, which backbone '{backbone}' cannot drive. {advice}")


def driver(index: Mapping[str, Any], source: str, backbone: str) -> str:
    """Return a sentence that names another backbone than ``backbone`` that drives the pipeline; empty if there is none."""
    known = registry().identify_backbone(index, source)
    return f"Use backbone '{known.name}'." if known is not None and known.name != backbone else ""


def part_classes(
    source: str, index: Mapping[str, Any], wanted: type, optional: Collection[str], without: Collection[str]
) -> dict[str, type | None]:
    """Return the class of each part that ``wanted`` takes, by name; None for one that is left out or absent.

    A part is a class of diffusers or transformers, and of the class that the pipeline declares; a tokenizer may be any.
    A part that the pipeline calls optional, such as an encoder of image prompts, has no part in an edit and stays out.

    Args:
        source: Hub id or folder, for messages.
        index: Content of ``model_index.json``.
        wanted: The pipeline class.
        optional: Parts that it can do without.
        without: Parts that are to be left out.

    Raises:
        WeightsError: an entry is malformed, or its class is none that may be loaded.
        IncompatibleError: a part is missing, or of a class that cannot be driven.
    """
    declared = declared_parts(wanted)
    entries = {name: entry for name, entry in index.items() if not name.startswith("_")}
    for name, entry in entries.items():
        texts = isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
        if entry != [None, None] and not (texts and name in declared) and not _sets(wanted, name, entry):
            raise WeightsError(
                f"`model` {source!r} is malformed: {INDEX} has the part {name!r}: {entry!r}, and a part of a"
                f" {wanted.__name__} is a library and a class under one of {', '.join(declared)}. Fetch it again."
            )
    without = {*without, *compat.optional_components(wanted)}
    found: dict[str, type | None] = {}
    for name, kind in declared.items():
        entry = entries.get(name, [None, None])
        if name in without or entry == [None, None]:
            if name not in without and name not in optional:
                raise IncompatibleError(lacking(f"`model` {source!r}", name, wanted))
            found[name] = None
        else:
            found[name] = _class_of(source, name, entry, kind)
    return found


def _sets(wanted: Any, name: str, entry: Any) -> bool:
    """Return whether an entry is a setting of the pipeline beside its parts: a number, a switch or a list of numbers."""
    numbers = entry if isinstance(entry, list) else [entry]
    settings = inspect.signature(wanted.__init__).parameters.keys() - declared_parts(wanted).keys()
    return name in settings and all(isinstance(value, int | float | None) for value in numbers)


def _class_of(source: str, name: str, entry: list[str], declared: type) -> type:
    library, title = entry
    found = None if title.startswith("_") else getattr(_LIBRARIES.get(library), title, None)
    if getattr(found, "is_dummy", False):
        raise WeightsError(
            f"`model` {source!r} has a {title} as its {name!r}, which {library} does not import: a package that it needs is not"
            " installed. Run `pip install torchvision`."
        )
    if not isinstance(found, type):
        raise WeightsError(
            f"`model` {source!r} asks for the class {title!r} of {library!r} as its {name!r}; only classes of diffusers"
            " and transformers are loaded, because others can run any code. Use a version without code of its own."
        )
    if name == "scheduler":
        refuse_scheduler(found, f"`model` {source!r}")
    if issubclass(declared, transformers.PreTrainedTokenizerBase | transformers.AutoTokenizer):
        declared = transformers.PreTrainedTokenizerBase
    elif issubclass(declared, transformers.AutoProcessor):  # prepares pictures too, and holds a tokenizer
        declared = transformers.ProcessorMixin
    if not issubclass(found, declared):
        raise IncompatibleError(
            f"`model` {source!r} has a {title} as its {name!r}, where a {declared.__name__} is needed. Use a version that"
            " has one."
        )
    return found
