"""Searches fields of parts over a data set for the best pairs of two metrics: ``headrouter tune``, docs/tune.md.

Importing this package loads neither torch nor optuna.
"""

from argparse import ArgumentParser, _SubParsersAction

from headrouter.plugins.specifications import hookimpl

headrouter_api = 1


@hookimpl
def register_commands(subcommands: "_SubParsersAction[ArgumentParser]") -> None:
    """Register ``headrouter tune``."""
    from headrouter_tune import command

    command.add(subcommands)
