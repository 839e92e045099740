"""List released models: their defaults, the memory of their weights, and constants published of inversions on them."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headrouter.cli.table import table, terminal_width
from headrouter.errors import InvalidInputError

if TYPE_CHECKING:
    from headrouter.plugins.specifications import Model

GIBIBYTE = 1024**3
DEFAULTS = ("backbone", "model", "steps", "guidance", "pixels", "text tokens", "shift", "licence", "gated")
MEMORY = ("backbone", "model", "bfloat16", "8 bits", "4 bits", "by groups", "by groups, 8 bits")
CONSTANTS = ("backbone", "model", "inversion", "constants", "presets", "source")


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("models", help="list released models and what suits them", description=__doc__)
    parser.add_argument("backbone", nargs="?", help="only those of this backbone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/models.md")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    if arguments.json and arguments.markdown:
        raise InvalidInputError("`--json` and `--markdown` are two forms of the same tables. Give one of them.")
    rows = described(arguments.backbone)
    if arguments.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif arguments.markdown:
        print(markdown(rows))
    else:
        for headings, cells in _tables(rows):
            print(f"{table(headings, cells, terminal_width())}\n")
        print(_without_constants(rows))
    return 0


def described(backbone: str | None = None) -> list[dict[str, Any]]:
    """Return all that is known of each released model of a backbone, or of all of them, as plain data. Memory is in bytes."""
    from headrouter.plugins import registry

    known = registry()
    entries = [known.backbone(backbone)] if backbone else [entry.item for entry in known.entries("backbone")]
    models = {id(model): model for entry in entries for model in known.models(entry.name) if model.facts}
    return [_described(model) for model in models.values()]


def _described(model: "Model") -> dict[str, Any]:
    from headrouter.models.facts import facts_of

    found = facts_of(model)
    assert found is not None
    facts, memory = found
    return {
        "backbone": model.backbone,
        "model": model.name,
        "hub": model.source,
        "steps": model.steps,
        "guidance": model.guidance,
        "area": model.area,
        "licence": model.licence,
        "gated": model.gated,
        **facts.model_dump(mode="json"),
        "memory": asdict(memory),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the tables as a section of docs/models.md."""
    lines: list[str] = []
    for headings, cells in _tables(rows):
        lines += ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in cells] + [""]
    lines += [_without_constants(rows), ""]
    for row in rows:
        remark = f" {row['remark']}" if row["remark"] else ""
        lines.append(
            f"- {row['backbone']} {row['model']}: {', '.join(f'<{source}>' for source in row['sources'])}.{remark}"
        )
    return "\n".join(lines)


def _tables(rows: list[dict[str, Any]]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    defaults = [
        [
            row["backbone"],
            row["model"],
            str(row["steps"]),
            f"{row['guidance']:g}",
            f"{row['area'] ** 0.5:.0f} × {row['area'] ** 0.5:.0f}",
            ", ".join(f"{name} {count}" for name, count in row["text"].items()),
            row["shift"],
            row["licence"],
            "yes" if row["gated"] else "no",
        ]
        for row in rows
    ]
    memory = [
        [row["backbone"], row["model"], *(f"{value / GIBIBYTE:.1f} GiB" for value in row["memory"].values())]
        for row in rows
    ]
    constants = [
        [
            row["backbone"],
            row["model"],
            one["inversion"],
            one["values"],
            ", ".join(one["presets"]) or "none",
            one["source"],
        ]
        for row in rows
        for one in row["constants"]
    ]
    return [(DEFAULTS, defaults), (MEMORY, memory), *([(CONSTANTS, constants)] if constants else [])]


def _without_constants(rows: list[dict[str, Any]]) -> str:
    """Return a sentence on the models of which no constants were found."""
    names = [f"{row['backbone']} {row['model']}" for row in rows if not row["constants"]]
    return f"No published constants of an inversion were found for {', '.join(names)}." if names else ""
