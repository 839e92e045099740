"""Implement headrouter's own subcommands, one module each.

A subcommand module has ``add(subcommands)``, which describes its arguments and sets the default ``run``, and
``run(arguments) -> int``; a family of commands has one such function for each. It imports nothing heavy outside them.
"""

from headrouter.cli.commands import conformance, doctor, edit, experiment, models, plugins, presets, reconstruct, schema

COMMANDS = (edit, reconstruct, experiment, plugins, models, presets, schema, conformance, doctor)
"""In the order of ``--help``; a new one is added here."""
