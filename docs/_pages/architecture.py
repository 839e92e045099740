"""Draw the rooms and the direction of imports, from the import contracts (``python docs/_pages/architecture.py``)."""

import re
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DRAWING: Final = ROOT / "docs" / "images" / "architecture.svg"
SAYS: Final = {
    "cli": "commands: a thin shell over the interface in Python",
    "testing": "the conformance kit, a model in pure PyTorch",
    "experiments": "one file, many edits: cells, records, statistics, report",
    "editing": "Editor, the batch of rows, result, record, replay",
    "sampling": "the engine; interfaces of inversions and operators",
    "methods": "the interface of methods; HeadRouter; word maps",
    "masks": "where an edit may act",
    "models": "the interface of backbones; weights by content",
    "attention": "the attention event, token layout, kernels",
    "prompts": "words, and the tokens of each",
    "plugins": "hooks, discovery, names, schema",
    "config": "parameters, YAML with places",
    "imaging": "reading, writing, comparing pictures",
    "compat": "private names of PyTorch, and nothing else",
}
"""What each room of the core holds."""
OUTSIDE: Final = (  # first and last room beside it, title, packages, colour
    (
        "experiments",
        "experiments",
        "data sets, metrics, executors, other editors, tuning",
        "datasets  metrics  ray  editors  tune",
        "#e9d8fd",
    ),
    ("editing", "editing", "analyses, the drawn world, nodes", "analysis  shapes  comfy", "#e9d8fd"),
    ("sampling", "sampling", "inversions, velocity operators", "inversions  operators", "#c6f6d5"),
    ("methods", "methods", "methods", "injection  blending  references", "#fefcbf"),
    ("models", "attention", "adapters", "diffusers (shared)  flux  sd3  flux2  qwen_image  …", "#fed7d7"),
)
"""Packages outside the core, beside the rooms whose interface they implement."""
ROW: Final = 44
TOP: Final = 56
WIDTH: Final = 1080
LEFT: Final = (20, 560)
RIGHT: Final = (620, 440)


def rooms() -> list[str]:
    """Return the rooms of the core from the top down, as the import contract has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = text.partition('name = "the rooms of the core depend only on those below"')[2]
    return re.findall(r'"headrouter\.(\w+)"', contract.partition("]")[0])


def drawing() -> str:
    """Return the drawing as SVG: rooms on the left, each importing those below, packages that import them on the right."""
    order = rooms()
    height = TOP + ROW * len(order) + 24
    shapes = [_text(LEFT[0], 32, "headrouter, the core: a room imports only those below it", bold=True)]
    shapes.append(_text(RIGHT[0], 32, "outside: plug-ins, which no room imports", bold=True))
    for place, room in enumerate(order):
        shapes += _box(LEFT, _y(place), ROW - 8, "#dbeafe", room, SAYS[room])
    for first, last, title, packages, colour in OUTSIDE:
        begin, end = order.index(first), order.index(last)
        top, size = _y(begin), (end - begin) * ROW + ROW - 8
        shapes += _box(RIGHT, top, size, colour, title, packages, stacked=size > ROW)
        for place in range(begin, end + 1):
            shapes.append(_arrow(RIGHT[0], _y(place) + (ROW - 8) / 2, LEFT[0] + LEFT[1], _y(place) + (ROW - 8) / 2))
    libraries = order.index("prompts") + 1
    shapes += _box(RIGHT, _y(libraries), ROW - 8, "#e2e8f0", "diffusers, transformers", "models and weights")
    middle = RIGHT[0] + RIGHT[1] / 2
    shapes.append(_arrow(middle, _y(order.index("attention")) + ROW - 8, middle, _y(libraries)))
    legend = (
        "An arrow is an import. Adapters know no method, methods",
        "know no model, inversions know neither: contracts",
        "that every check runs.",
    )
    shapes += [_text(RIGHT[0], _y(libraries + 2) + 20 * line, text) for line, text in enumerate(legend)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img">'
        "<title>Rooms of headrouter and the direction of imports</title>"
        '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4.5" orient="auto">'
        '<path d="M0,0 L9,4.5 L0,9 z" fill="#334155"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#f8fafc"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _y(place: int) -> float:
    return TOP + ROW * place


def _text(x: float, y: float, text: str, bold: bool = False, grey: bool = False) -> str:
    style = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="14" fill="{"#475569" if grey else "#0f172a"}"{style}>{escape(text)}</text>'


def _box(
    column: tuple[int, int], y: float, size: float, colour: str, title: str, says: str, stacked: bool = False
) -> list[str]:
    x, width = column
    box = f'<rect x="{x}" y="{y:g}" width="{width}" height="{size:g}" rx="6" fill="{colour}" stroke="#64748b"/>'
    if column is RIGHT:
        first = y + (size / 2 - 6 if stacked else 15)
        return [box, _text(x + 12, first, title, bold=True), _text(x + 12, first + 16, says, grey=True)]
    return [box, _text(x + 12, y + 23, title, bold=True), _text(x + 130, y + 23, says, grey=True)]


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#334155" marker-end="url(#head)"/>'


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
