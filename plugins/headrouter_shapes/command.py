"""Run the commands of this package, ``python -m headrouter_shapes.train`` and its kin."""

import argparse
import sys
from collections.abc import Callable

from headrouter.errors import HeadRouterError


def exit_code(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a command; return 0, or after an error that the user can act on, which is printed, 2."""
    try:
        run(arguments)
    except HeadRouterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
