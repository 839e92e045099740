"""Open a local web page to edit pictures: choose, click, compare, and take the command along.

The page runs on this machine and is reached from it alone, unless --host says otherwise. It loads nothing from the network. Its
files are in a temporary folder, which is removed when it ends, by Ctrl-C or SIGTERM.
"""

import argparse
import signal
import sys
from importlib.util import find_spec

from headrouter.cli.options import add_machine, machine_of
from headrouter.errors import InvalidInputError

BUNDLED = "shapes"
LOOPBACK = "127.0.0.1"
TERMINATED = 128 + signal.SIGTERM


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser(
        "app",
        help="open a local web page to edit pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backbone", default="sd3.5", metavar="NAME", help="model family (default: sd3.5)")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="weights: a short name, a hub id, a folder or a file (default: the bundled shapes, where the backbone has them)",
    )
    parser.add_argument(
        "--host", default=LOOPBACK, help=f"address to listen at (default: {LOOPBACK}, this machine alone)"
    )
    parser.add_argument("--port", type=int, help="port to listen at (default: the first free one from 7860)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")
    machine = add_machine(parser, progress=False)
    machine.add_argument("--max-rows", type=int, metavar="N", help="largest number of rows in one model call")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Load the model, show the page, and wait until it is interrupted."""
    if find_spec("gradio") is None:
        raise InvalidInputError("`headrouter app` needs gradio, which is not installed: pip install 'headrouter[app]'.")
    if arguments.port is not None and not 0 < arguments.port < 65_536:
        raise InvalidInputError(f"`--port` must be 1 to 65535 (got {arguments.port}).")
    from headrouter_app.running import Studio
    from headrouter_app.serving import served

    model = arguments.model or default_model(arguments.backbone)
    loading = {**machine_of(arguments), "max_rows": arguments.max_rows}
    studio = Studio.load(arguments.backbone, model, {name: one for name, one in loading.items() if one is not None})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that the files are removed then too
    with served(studio, arguments.host, arguments.port, open_browser=not arguments.no_browser) as server:
        print(f"The page is at {server.address} (Ctrl-C ends it)", flush=True)
        if arguments.host not in (LOOPBACK, "localhost", "::1"):
            print(
                "Whoever reaches this machine over the network can open it without a password, and edit pictures with this model.",
                flush=True,
            )
        server.wait()
    return 0


def default_model(backbone: str) -> str | None:
    """Return the bundled model of a backbone, or None for the backbone's own where it has none."""
    from headrouter.plugins import registry

    qualified = registry().entry("backbone", backbone).qualified_name
    return BUNDLED if any(model.name == BUNDLED for model in registry().models(qualified)) else None
