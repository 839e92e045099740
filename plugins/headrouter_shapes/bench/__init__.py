"""Measure edits of drawn pictures, whose true answer is known. ``headrouter bench shapes``; docs/bench.md.

Importing this package loads neither torch nor diffusers.
"""

from typing import TYPE_CHECKING

__all__ = ["Case", "Configuration", "Row", "cases", "configure", "edit_cases", "experiment", "read_study", "run"]

_MODULES = {
    "Case": "headrouter_shapes.bench.sets",
    "Configuration": "headrouter.experiments.configuration",
    "Row": "headrouter.experiments.run_folder.cell",
    "cases": "headrouter_shapes.bench.sets",
    "configure": "headrouter_shapes.bench.study",
    "edit_cases": "headrouter_shapes.bench.batch",
    "experiment": "headrouter_shapes.bench.study",
    "read_study": "headrouter_shapes.bench.study",
    "run": "headrouter_shapes.bench.study",
}

if TYPE_CHECKING:
    from headrouter.experiments.configuration import Configuration
    from headrouter.experiments.run_folder.cell import CellRecord as Row
    from headrouter_shapes.bench.batch import edit_cases
    from headrouter_shapes.bench.sets import Case, cases
    from headrouter_shapes.bench.study import configure, experiment, read_study, run


def __getattr__(name: str) -> object:
    """Import on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'headrouter_shapes.bench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), "CellRecord" if name == "Row" else name)
