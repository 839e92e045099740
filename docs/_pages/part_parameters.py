"""Write the parameters of every installed part, from the schema by which they are validated."""

from typing import Any

KINDS = {
    "backbone": "Backbones",
    "inversion": "Inversions",
    "operator": "Velocity operators",
    "method": "Methods",
    "mask": "Masks",
}
BEGINNING = """# Parameters

Every part has the parameters below: `--set inversion.eta=0.8` on the command line, a keyword of its class in Python, a key in
a file. `headrouter schema` prints the same as a JSON Schema, with the parts of your own plug-ins.
"""


def page(complete: bool) -> str:
    """Return the Markdown of the page; complete, it imports every part that is installed, which takes seconds."""
    if not complete:
        return BEGINNING
    from headrouter.plugins.schema import schema

    return BEGINNING + "".join(sections(schema()))


def sections(schema: dict[str, Any]) -> list[str]:
    """Return a section for each kind of part in a schema, and in it one for each part."""
    written = []
    for kind, title in KINDS.items():
        parts = {key: part for key, part in schema["$defs"].items() if key.partition(".")[0] == kind}
        if parts:
            written += [f"\n## {title}\n", *(_section(kind, part) for part in parts.values())]
    return written


def _section(kind: str, part: dict[str, Any]) -> str:
    properties = dict(part["properties"])
    name = properties.pop("name")
    lines = [f"\n### {kind}: {part['title']}\n", f"{name['description']}\n"]
    if properties:
        lines += ["| parameter | values | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(field, value, part) for field, value in properties.items()]
    else:
        lines.append("No parameters.")
    return "\n".join(lines) + "\n"


def _row(field: str, value: dict[str, Any], part: dict[str, Any]) -> str:
    default = (
        f"`{_plain(value['default'])}`"
        if "default" in value
        else "must be given"
        if field in part.get("required", [])
        else ""
    )
    cells = (f"`{field}`", _values(value, part), default, " ".join(value.get("description", "").split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _values(value: dict[str, Any], part: dict[str, Any]) -> str:
    """Return the values that a schema admits, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        shared = part.get("$defs", {}).get(name, {})
        return _values(shared, part) if "enum" in shared else f"the parameters of {name}"
    if alternatives := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_values(each, part) for each in alternatives))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{_plain(each)}`" for each in value.get("enum", [value.get("const")]))
    kind = value.get("type", "any value")
    if kind == "array":
        return f"list of {_values(value['items'], part)}" if isinstance(value.get("items"), dict) else "list"
    words = {
        "null": "none",
        "boolean": "true or false",
        "string": "text",
        "object": "mapping",
        "integer": "whole number",
    }
    bounds = [
        f"{sign} {value[bound]:g}"
        for bound, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if bound in value
    ]
    return " ".join((words.get(kind, kind), ", ".join(bounds))).strip()
