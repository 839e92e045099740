"""Write tables as files, whole or not at all."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrouter.files import write_whole
from headrouter_analysis.profile import Profile


def write_json(path: Path, data: Mapping[str, Any]) -> Path:
    """Write plain data as JSON; rows of numbers stay on one line."""
    return write_whole(path, (_lines(data) + "\n").encode())


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows with the keys of the first as heading."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_whole(path, text.getvalue().encode())


def head_rows(profile: Profile) -> list[dict[str, Any]]:
    """Return one row for each semantic, layer and head."""
    data = profile.as_dict()["semantics"]
    _, blocks, heads = profile.mean.shape
    return [
        {"semantic": name, "layer": block, "head": head, **{key: values[block][head] for key, values in entry.items()}}
        for name, entry in data.items()
        for block in range(blocks)
        for head in range(heads)
    ]


def _lines(value: Any, indent: int = 0) -> str:
    """Return JSON with one entry a line, down to plain lists and mappings of at most four values."""
    pad = "  " * (indent + 1)
    flat = isinstance(value, list) and all(not isinstance(part, dict | list) for part in value)
    small = (
        isinstance(value, dict) and len(value) <= 4 and all(isinstance(part, int | float) for part in value.values())
    )
    if flat or small or not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        parts = [pad + _lines(part, indent + 1) for part in value]
    else:
        parts = [
            f"{pad}{json.dumps(key, ensure_ascii=False)}: {_lines(part, indent + 1)}" for key, part in value.items()
        ]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return f"{opening}\n" + ",\n".join(parts) + f"\n{'  ' * indent}{closing}"
