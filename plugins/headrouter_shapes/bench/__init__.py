"""Measure edits of drawn pictures, whose true answer is known. ``headrouter bench shapes``; docs/bench.md.

Importing this package loads neither torch nor diffusers.
"""

from typing import TYPE_CHECKING

__all__ = ["Case", "Configuration", "Row", "cases", "configure", "read_study", "run"]

_MODULES = {
    "Case": "headrouter_shapes.bench.sets",
    "Configuration": "headrouter.experiments.configuration",
    "Row": "headrouter_shapes.bench.records",
    "cases": "headrouter_shapes.bench.sets",
    "configure": "headrouter_shapes.bench.study",
    "read_study": "headrouter_shapes.bench.study",
    "run": "headrouter_shapes.bench.running",
}

if TYPE_CHECKING:
    from headrouter.experiments.configuration import Configuration
    from headrouter_shapes.bench.records import Row
    from headrouter_shapes.bench.running import run
    from headrouter_shapes.bench.sets import Case, cases
    from headrouter_shapes.bench.study import configure, read_study


def __getattr__(name: str) -> object:
    """Import on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'headrouter_shapes.bench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
