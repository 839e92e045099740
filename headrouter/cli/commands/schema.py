"""Print the JSON Schema of every installed part and its parameters, with ranges, defaults and meanings."""

import argparse
import json


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "schema", help="print the JSON Schema of all parts and their parameters", description=__doc__
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    from headrouter.plugins.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0
