"""Measure edits of drawn pictures, whose true answer is known. ``headrouter bench shapes``; docs/bench.md.

Importing this package loads neither torch nor diffusers.
"""

from typing import TYPE_CHECKING

__all__ = ["Case", "Configuration", "Row", "cases", "configure", "read_study", "run"]

_MODULES = {
    "Case": "sets",
    "Configuration": "configuration",
    "Row": "records",
    "cases": "sets",
    "configure": "configuration",
    "read_study": "study",
    "run": "running",
}

if TYPE_CHECKING:
    from headrouter_shapes.bench.configuration import Configuration, configure
    from headrouter_shapes.bench.records import Row
    from headrouter_shapes.bench.running import run
    from headrouter_shapes.bench.sets import Case, cases
    from headrouter_shapes.bench.study import read_study


def __getattr__(name: str) -> object:
    """Import on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'headrouter_shapes.bench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"headrouter_shapes.bench.{_MODULES[name]}"), name)
