"""List the installed plug-ins, the parts that they bring, and the errors of the others."""

import argparse
import json
from dataclasses import asdict

from headrouter.cli.commands import new_plugin
from headrouter.cli.table import table, terminal_width
from headrouter.plugins import Entry, Registry, registry
from headrouter.plugins.specifications import ComponentSpec


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "plugins", help="list plug-ins and their parts, or write a new one", description=__doc__
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    new_plugin.add(parser.add_subparsers(title="commands", metavar="COMMAND"))


def run(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    known = registry()
    if arguments.json:
        print(json.dumps(_document(known), indent=2))
        return 0
    width = terminal_width()
    plugins = [[row.name, row.distribution, row.version, row.status, row.message] for row in known.statuses]
    print(table(["plug-in", "distribution", "version", "status", "remark"], plugins, width))
    components = [
        [spec.kind, spec.name, ", ".join(spec.aliases), entry.distribution, spec.summary]
        for entry, spec in _components(known)
    ]
    print()
    print(table(["kind", "name", "aliases", "distribution", "summary"], components, width))
    return 0


def _components(known: Registry) -> list[tuple[Entry, ComponentSpec]]:
    pairs = [(entry, entry.item) for entry in known.entries() if isinstance(entry.item, ComponentSpec)]
    return sorted(pairs, key=lambda pair: pair[1].kind)


def _document(known: Registry) -> dict[str, object]:
    components = [
        {
            "kind": spec.kind,
            "name": spec.name,
            "qualified_name": entry.qualified_name,
            "aliases": list(spec.aliases),
            "plugin": entry.plugin,
            "distribution": entry.distribution,
            "target": spec.target,
            "provides": sorted(spec.provides),
            "requires": sorted(spec.requires),
            "summary": spec.summary,
        }
        for entry, spec in _components(known)
    ]
    return {"plugins": [asdict(row) for row in known.statuses], "components": components}
