"""List presets, which are published or measured values of parameters, with their source."""

import argparse
import json

from headrouter.cli.table import table, terminal_width
from headrouter.plugins import registry


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("presets", help="list presets and their sources", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    known = registry().presets()
    if arguments.json:
        rows = [
            {
                "name": preset.name,
                "component": dict(zip(("kind", "name"), preset.component, strict=True)),
                "reference_steps": preset.reference_steps,
                "values": preset.values,
                "provenance": preset.provenance,
                "summary": preset.summary,
            }
            for preset in known
        ]
        print(json.dumps(rows, indent=2))
        return 0
    cells = [
        [
            preset.name,
            " ".join(preset.component),
            ", ".join(f"{name}={value}" for name, value in preset.values.items()),
            str(preset.reference_steps),
            preset.provenance,
            preset.summary,
        ]
        for preset in known
    ]
    print(table(["preset", "of", "values", "at steps", "provenance", "summary"], cells, terminal_width()))
    return 0
