"""Compare compositions of parts over a data set, from one YAML file: see docs/experiments.md.

Importing this package loads neither torch nor the data: names are imported when they are used.
"""

from typing import TYPE_CHECKING

__all__ = [
    "Cell",
    "Configuration",
    "Experiment",
    "OtherConfiguration",
    "Plan",
    "configure",
    "difference",
    "experiment_schema",
    "merge",
    "new_file",
    "plan",
    "read_experiment",
    "report",
    "run",
    "select",
    "status",
]

_MODULES = {
    "Cell": "experiment",
    "Configuration": "configuration",
    "Experiment": "experiment",
    "OtherConfiguration": "configuration",
    "Plan": "planning.plan",
    "configure": "composing",
    "difference": "run_folder.difference",
    "experiment_schema": "file.schema",
    "merge": "run_folder.merging",
    "new_file": "file.writing",
    "plan": "planning.plan",
    "read_experiment": "file.reading",
    "report": "results.report",
    "run": "running.runner",
    "select": "selection",
    "status": "run_folder.status",
}

if TYPE_CHECKING:
    from headrouter.experiments.composing import configure
    from headrouter.experiments.configuration import Configuration, OtherConfiguration
    from headrouter.experiments.experiment import Cell, Experiment
    from headrouter.experiments.file.reading import read_experiment
    from headrouter.experiments.file.schema import experiment_schema
    from headrouter.experiments.file.writing import new_file
    from headrouter.experiments.planning.plan import Plan, plan
    from headrouter.experiments.results.report import report
    from headrouter.experiments.run_folder.difference import difference
    from headrouter.experiments.run_folder.merging import merge
    from headrouter.experiments.run_folder.status import status
    from headrouter.experiments.running.runner import run
    from headrouter.experiments.selection import select


def __getattr__(name: str) -> object:
    """Import on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'headrouter.experiments' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"headrouter.experiments.{_MODULES[name]}"), name)
