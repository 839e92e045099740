"""Build the JSON Schema of experiment files from what is installed, by which an editor completes and checks them."""

from collections.abc import Mapping
from typing import Any, Final

from headrouter.experiments.composing import SEVERAL, Knobs
from headrouter.experiments.file.reading import ExperimentFile
from headrouter.plugins import Registry, registry
from headrouter.plugins.schema import names_of, usable
from headrouter.plugins.specifications import KINDS, Kind

_SWEEP = {
    "type": "object",
    "additionalProperties": {"type": "array", "minItems": 1},
    "description": "Every combination of the values listed for dotted names.",
}
_BESIDE: Mapping[str, Mapping[str, Any]] = {
    "backbone": {
        "label": {"type": "string", "description": "In names and tables."},
        "model": {"type": "string", "description": "Weights: short name, hub id or folder."},
    },
    "dataset": {},
    "executor": {},
}
_LABEL = {"label": {"type": "string", "description": "In names and tables."}}

_ONE: Final[tuple[Kind, ...]] = ("dataset", "executor")
LISTED: Final[tuple[Kind, ...]] = ("metric", "editor")


def experiment_schema(known: Registry | None = None) -> dict[str, Any]:
    """Return the schema of an experiment file; a part whose class cannot be used is left out, with a warning."""
    known = registry() if known is None else known
    definitions: dict[str, Any] = {}
    parts: dict[Kind, dict[str, Any]] = {kind: _choices(kind, known, definitions) for kind in (*KINDS, *_ONE, *LISTED)}
    knobs = Knobs.model_json_schema()["properties"]
    head = ExperimentFile.model_json_schema()
    definitions |= head.get("$defs", {})
    one = {kind: _one_or_together(kind, parts[kind]) for kind in KINDS}
    shared = {name: value for name, value in knobs.items() if name != "seed"}
    options = {kind: {"anyOf": [one[kind], {"type": "array", "minItems": 1, "items": one[kind]}]} for kind in KINDS}
    definitions["configuration"] = {
        "type": "object",
        "properties": {"name": {"type": "string"}, **{kind: one[kind] for kind in KINDS[1:]}, **knobs, "sweep": _SWEEP},
        "required": ["name"],
        "additionalProperties": False,
    }
    definitions["matrix"] = {
        "type": "object",
        "properties": {
            **options,
            **shared,
            "sweep": _SWEEP,
            "exclude": {"type": "array", "items": {"type": "object", "minProperties": 1}},
        },
        "additionalProperties": False,
    }
    metrics, editors = ({"type": "array", "items": parts[kind]} for kind in LISTED)
    properties = {
        **head["properties"],
        **{kind: parts[kind] for kind in _ONE},
        "metrics": {"anyOf": [parts["metric"], metrics]},
        "editors": editors,
        "backbone": options["backbone"],
        "matrix": {"$ref": "#/$defs/matrix"},
        "configurations": {"type": "array", "items": {"$ref": "#/$defs/configuration"}},
        "seeds": {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "array", "items": {"type": "integer", "minimum": 0}}]
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "headrouter experiment",
        "type": "object",
        "properties": properties,
        "required": ["dataset"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _choices(kind: Kind, known: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    beside = _BESIDE.get(kind, _LABEL)
    for entry, key, own in usable(kind, known):
        swept = {} if kind in _ONE else {"sweep": _SWEEP}
        definitions[key] = {**own, "properties": {**own["properties"], **beside, **swept}}
        found += [{"enum": names_of(entry)}, {"$ref": f"#/$defs/{key}"}]
    found += [{"type": "string"}] if kind == "mask" else []  # an expression, or a file
    return {"anyOf": found} if found else {"not": {}}


def _one_or_together(kind: Kind, part: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*part.get("anyOf", []), {"type": "array", "items": part}]} if kind in SEVERAL else part
