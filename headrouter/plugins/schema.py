"""Build the JSON Schema of installed parts and their parameters, by which an editor completes and checks them."""

import warnings
from collections.abc import Iterator
from typing import Any

from headrouter.errors import PluginError, PluginWarning, reason_of
from headrouter.plugins import Entry, Registry, registry
from headrouter.plugins.specifications import KINDS, ComponentSpec, Kind


def schema(known: Registry | None = None) -> dict[str, Any]:
    """Return the schema of a mapping with the keys ``backbone``, ``inversion``, ``operator`` and ``method``.

    Each is the name of a component, or a mapping of ``name`` and the component's parameters, or a list of these. A component
    whose class cannot be used is left out, with a :class:`~headrouter.errors.PluginWarning`.
    """
    known = registry() if known is None else known
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for kind in KINDS:
        one = list[dict[str, Any]]()
        for entry, key, own in usable(kind, known):
            definitions[key] = own
            one += [{"enum": names_of(entry)}, {"$ref": f"#/$defs/{key}"}]
        properties[kind] = {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]} if one else False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "headrouter",
        "type": "object",
        "properties": properties,
        "$defs": definitions,
    }


def component_schema(entry: Entry, prefix: str = "#/$defs/") -> dict[str, Any]:
    """Return the schema of one component's parameters with its ``name``; references to shared parts begin with ``prefix``.

    Raises:
        PluginError: its class cannot be imported, or has parameters that no schema describes.
    """
    spec = entry.item
    assert isinstance(spec, ComponentSpec)
    parameters = spec.load()
    try:
        own = parameters.model_json_schema(ref_template=prefix + "{model}")
    except Exception as error:
        raise PluginError(
            f"{spec.kind} {spec.name!r} has parameters without a JSON Schema: {reason_of(error)}"
        ) from error
    properties = {"name": {"enum": names_of(entry), "description": spec.summary}, **own.get("properties", {})}
    return {**own, "title": spec.name, "properties": properties, "required": ["name", *own.get("required", [])]}


def usable(kind: Kind, known: Registry | None = None) -> Iterator[tuple[Entry, str, dict[str, Any]]]:
    """Yield each part of a kind with the key and the schema of its parameters, whose references begin with that key.

    A part whose class cannot be used is left out, with a :class:`~headrouter.errors.PluginWarning`.
    """
    for entry in (registry() if known is None else known).entries(kind):
        key = f"{kind}.{entry.qualified_name}"
        try:
            own = component_schema(entry, prefix=f"#/$defs/{key}/$defs/")
        except PluginError as error:
            warnings.warn(f"{entry.qualified_name} is left out: {error}", PluginWarning, stacklevel=2)
        else:
            yield entry, key, own


def names_of(entry: Entry) -> list[str]:
    """Return every name by which a part can be given."""
    return [entry.item.name, *entry.item.aliases, entry.qualified_name]
