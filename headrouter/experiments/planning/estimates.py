"""Estimate how long cells take, from records of earlier ones or from a short measurement."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from headrouter.experiments.configuration import AnyConfiguration, Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Experiment


class Timed(Protocol):
    """Describes what is read of a record: which configuration an edit was of, and what it took."""

    @property
    def backbone(self) -> str:
        """Return the group of the configuration; empty for another editor."""

    @property
    def configuration(self) -> str:
        """Return the name of the configuration."""

    @property
    def spent(self) -> Mapping[str, float]:
        """Return ``seconds`` and ``rows`` of the edit."""


@dataclass(frozen=True)
class Pace:
    """Holds seconds for an edit by configuration, and for a row by model.

    Attributes:
        edits: By the key of the configuration.
        rows: By the key of the loaded model.
        origin: Sentence that says where they are from.
    """

    edits: Mapping[str, float]
    rows: Mapping[tuple[str, str, str], float]
    origin: str

    def seconds(self, configuration: AnyConfiguration, edits: int, rows: int) -> float | None:
        """Return the seconds of some edits of a configuration, None where nothing is known of it and its model."""
        if (known := self.edits.get(configuration.key)) is not None:
            return known * edits
        if not isinstance(configuration, Configuration) or (row := self.rows.get(configuration.loading)) is None:
            return None
        return row * rows


def pace_of(experiment: Experiment, records: Iterable[Timed], origin: str) -> Pace:
    """Return the pace of records: mean seconds of an edit of each configuration, and of a row of each model."""
    seconds, rows = defaultdict[tuple[str, str], list[float]](list), defaultdict[tuple[str, str], list[float]](list)
    for record in records:
        seconds[record.backbone, record.configuration].append(record.spent.get("seconds", 0.0))
        rows[record.backbone, record.configuration].append(record.spent.get("rows", 0.0))
    edits, spent = dict[str, float](), defaultdict[tuple[str, str, str], list[float]](lambda: [0.0, 0.0])
    for one in experiment.configurations:
        group = one.group if isinstance(one, Configuration) else ""
        if taken := seconds.get((group, one.name)):
            edits[one.key] = sum(taken) / len(taken)
            spent[one.loading][0] += sum(taken)
            spent[one.loading][1] += sum(rows[group, one.name])
    by_row = {loading: taken / count for loading, (taken, count) in spent.items() if count}
    return Pace(edits, by_row, origin)


Run = Callable[[Experiment, Path, Sequence[Item]], Iterable[Timed]]
"""Runs an experiment's cells of some items in a folder, and returns their records."""


def measured(experiment: Experiment, items: Sequence[Item], run: Run) -> Pace:
    """Run the first edit by one configuration of each model, without metrics, and return its pace.

    The second of two pictures counts, if there are two, since the first includes what happens once.
    """
    firsts: dict[tuple[str, str, str], AnyConfiguration] = {}
    for one in experiment.configurations:
        if not (isinstance(one, Configuration) and one.still):
            firsts.setdefault(one.loading, one)
    pictures = list({item.picture_key: item for item in items}.values())[:2]
    few = replace(
        experiment, configurations=tuple(firsts.values()), metrics={}, seeds=experiment.seeds[:1], baseline=""
    )
    with tempfile.TemporaryDirectory(prefix="headrouter-plan-") as folder:
        records = [record for item in pictures for record in run(few, Path(folder), [item])]
    later = records[-len(firsts) :]
    return pace_of(few, later, f"measured on {len(pictures)} edit{'s' * (len(pictures) > 1)} of each model")
