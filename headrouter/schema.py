"""JSON Schema of a configuration, built from the installed plug-ins, so that an editor can complete and check it."""

from typing import Any

from headrouter.plugin import KINDS, ComponentSpec, Kind
from headrouter.plugins import Registry, registry


def schema(known: Registry | None = None) -> dict[str, Any]:
    """The schema of a mapping with the keys ``backbone``, ``inversion``, ``method`` and ``metric``.

    Each is the name of a component, or a mapping of ``name`` and the component's parameters, or a list of these.
    """
    known = registry() if known is None else known
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for kind in KINDS:
        one = {"oneOf": _choices(kind, known, definitions)}
        properties[kind] = {"anyOf": [one, {"type": "array", "items": one}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "headrouter",
        "type": "object",
        "properties": properties,
        "$defs": definitions,
    }


def component_schema(spec: ComponentSpec, prefix: str = "#/$defs/") -> dict[str, Any]:
    """The schema of one component's parameters with its ``name``; references to shared parts begin with ``prefix``."""
    parameters = spec.params_class().model_json_schema(ref_template=prefix + "{model}")
    properties = {"name": {"const": spec.name, "description": spec.summary}, **parameters.get("properties", {})}
    return {
        **parameters,
        "title": spec.name,
        "properties": properties,
        "required": ["name", *parameters.get("required", [])],
    }


def _choices(kind: Kind, known: Registry, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    specs = [entry.item for entry in known.entries(kind) if isinstance(entry.item, ComponentSpec)]
    names = sorted({name for spec in specs for name in (spec.name, *spec.aliases)})
    choices: list[dict[str, Any]] = [{"type": "string", "enum": names}] if names else []
    for entry in known.entries(kind):
        assert isinstance(entry.item, ComponentSpec)
        key = f"{kind}.{entry.qualified_name}"
        own = component_schema(entry.item, prefix=f"#/$defs/{key}/$defs/")
        definitions[key] = own
        choices.append({"$ref": f"#/$defs/{key}"})
    return choices
