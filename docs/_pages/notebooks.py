"""Turn notebooks into pages, with the outputs that they were saved with."""

import base64
import json
from pathlib import Path
from typing import Any


def files(notebook: Path) -> dict[str, str | bytes]:
    """Return the Markdown page of a notebook, and the pictures of its outputs, by name."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    made: dict[str, str | bytes] = {}
    parts = []
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for place, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{notebook.stem}-{number}-{place}.png"
                made[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![output of the cell]({name})")
            elif text := _text(output, data):
                parts.append(f"```text\n{text}\n```")
    title, _, rest = "\n\n".join(parts).partition("\n")
    note = f"This page is [a notebook]({notebook.name}) with its outputs; the tests run it from top to bottom."
    made[f"{notebook.stem}.md"] = f"{title}\n\n{note}\n{rest}\n"
    return made


def _text(output: dict[str, Any], data: dict[str, Any]) -> str:
    return "".join(output.get("text", data.get("text/plain", []))).strip()
