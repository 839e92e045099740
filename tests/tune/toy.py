"""Searches on a toy model, which take milliseconds a trial."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from headrouter_tune.file import Search, read_search
from headrouter_tune.running import Outcome, run_search

from experiments import light
from headrouter.config.configuration import Override
from headrouter.config.yaml_document import Document, parse_yaml
from headrouter.experiments.run_folder.cell import CellRecord

FLOWEDIT = {"name": "flowedit", "search": {"last_steps": {"low": 0.25, "high": 1.0}}}
SDEDIT = {"name": "sdedit", "search": {"strength": {"low": 0.1, "high": 1.0, "log": True}}}
FILE: dict[str, Any] = {
    "name": "toy",
    "dataset": {"name": "noise", "pictures": 3, "edits": 1},
    "metrics": [{"name": one, "label": one} for one in ("likeness-1", "brightness-1")],
    "base": {
        "backbone": "toy",
        "inversion": {"name": "flowedit", "last_steps": 1.0},
        "operator": "gate",
        "method": ["headrouter", "injection"],
        "steps": 4,
    },
    "search": {
        "inversion": [FLOWEDIT, SDEDIT],
        "method.gamma": {"low": 0, "high": 1},
        "operator": ["none", "gate"],
        "guidance": [1, 3.0],
    },
    "objectives": ["psnr", "mean"],
    "trials": 6,
    "seed": 3,
}


def document(**changes: Any) -> Document:
    """Return the file with some values replaced; those of ``base`` and ``search`` beside the others there."""
    data = {**FILE, **changes, "base": {**FILE["base"], **changes.get("base", {})}}
    return parse_yaml(yaml.safe_dump(data, sort_keys=False), "toy.yaml")


def search(*overrides: Override, **changes: Any) -> Search:
    return read_search(document(**changes), overrides)


def run(folder: Path, found: Search | None = None, report: Callable[[CellRecord], Any] | None = None) -> Outcome:
    """Run a search, one edit in each model call, so that a kill may leave a part of a configuration."""
    chosen = search() if found is None else found
    return run_search(chosen, folder, chosen.experiment.items, progress=False, device="cpu", batch=1, report=report)


def shown(outcome: Outcome) -> list[list[Any]]:
    """Return names and values, all that a search found."""
    return [[point.configuration.name, point.values and list(point.values)] for point in outcome.points]


__all__ = ["light", "run", "search", "shown"]
