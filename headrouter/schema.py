"""JSON Schema of a configuration, built from the installed plug-ins, so that an editor can complete and check it."""

from typing import Any

from headrouter.plugin import KINDS, ComponentSpec, Kind
from headrouter.plugins import Entry, Registry, registry


def schema(known: Registry | None = None) -> dict[str, Any]:
    """The schema of a mapping with the keys ``backbone``, ``inversion``, ``method`` and ``metric``.

    Each is the name of a component, or a mapping of ``name`` and the component's parameters, or a list of these.
    """
    known = registry() if known is None else known
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for kind in KINDS:
        one = _choices(kind, known, definitions)
        properties[kind] = {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]} if one else False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "headrouter",
        "type": "object",
        "properties": properties,
        "$defs": definitions,
    }


def component_schema(entry: Entry, prefix: str = "#/$defs/") -> dict[str, Any]:
    """The schema of one component's parameters with its ``name``; references to shared parts begin with ``prefix``."""
    spec = entry.item
    assert isinstance(spec, ComponentSpec)
    own = spec.load().model_json_schema(ref_template=prefix + "{model}")
    properties = {"name": {"enum": _names(entry), "description": spec.summary}, **own.get("properties", {})}
    return {**own, "title": spec.name, "properties": properties, "required": ["name", *own.get("required", [])]}


def _choices(kind: Kind, known: Registry, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = []
    for entry in known.entries(kind):
        key = f"{kind}.{entry.qualified_name}"
        definitions[key] = component_schema(entry, prefix=f"#/$defs/{key}/$defs/")
        choices += [{"enum": _names(entry)}, {"$ref": f"#/$defs/{key}"}]
    return choices


def _names(entry: Entry) -> list[str]:
    return [entry.item.name, *entry.item.aliases, entry.qualified_name]
