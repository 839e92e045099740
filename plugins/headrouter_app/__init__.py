"""Shows a local web page on which pictures are edited, looked into, and taken along as a command, Python or YAML.

Importing this package loads neither torch nor gradio.
"""

from argparse import ArgumentParser, _SubParsersAction

from headrouter.plugins.specifications import hookimpl

headrouter_api = 1


@hookimpl
def register_commands(subcommands: "_SubParsersAction[ArgumentParser]") -> None:
    """Register ``headrouter app``."""
    from headrouter_app import command

    command.add(subcommands)
