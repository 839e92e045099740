"""Measure edits by all metrics, each loaded once a process."""

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import final

import torch

from headrouter.errors import PluginError
from headrouter.experiments.metric import Measure, Measured, Metric, Value

Row = dict[str, Value]


@final
class Metrics:
    """Holds the metrics of an experiment, for all threads.

    Args:
        metrics: By label.
        device: Of their networks; ``auto`` is the accelerator if there is one.
    """

    def __init__(self, metrics: Mapping[str, Metric], device: str):
        """Load nothing yet."""
        self._metrics = metrics
        self._device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self._measures: dict[str, Measure] = {}
        self._locks = {label: threading.Lock() for label in metrics}

    @property
    def labels(self) -> frozenset[str]:
        """Return the labels of all metrics."""
        return frozenset(self._metrics)

    def load(self, labels: Iterable[str]) -> None:
        """Load networks, before any edit is made.

        Raises:
            HeadRouterError: one cannot be loaded.
        """
        for label in labels:
            with self._locks[label]:
                if label not in self._measures:
                    self._measures[label] = self._metrics[label].load(self._device)

    def measure(self, edits: Sequence[Measured], labels: Iterable[str]) -> list[dict[str, Row | Exception]]:
        """Return for each edit its columns by metric, or the metric's error."""
        found: list[dict[str, Row | Exception]] = [{} for _ in edits]
        for label in sorted(labels):
            for row, values in zip(found, self._attempted(label, edits), strict=True):
                row[label] = values
        return found

    def _attempted(self, label: str, edits: Sequence[Measured]) -> list[Row | Exception]:
        """Measure together, and where that fails one after the other."""
        try:
            return list(self._measured(label, edits))
        except Exception as error:
            return [error] if len(edits) == 1 else [one for edit in edits for one in self._attempted(label, [edit])]

    def _measured(self, label: str, edits: Sequence[Measured]) -> list[Row]:
        self.load([label])
        with self._locks[label]:
            rows = [dict(row) for row in self._measures[label](edits)]
        if len(rows) != len(edits):
            raise PluginError(
                f"the metric {label!r} must give a row for each of {len(edits)} edits; it gave {len(rows)}."
            )
        columns = set(self._metrics[label].columns)
        for row in rows:
            if set(row) != columns:
                raise PluginError(
                    f"the metric {label!r} must give the columns {sorted(columns)}; it gave {sorted(row)}."
                )
        return [{name: _plain(label, name, value) for name, value in row.items()} for row in rows]


def _plain(label: str, name: str, value: Value) -> Value:
    """Return a value that can be written: NaN is None."""
    if value is None or isinstance(value, bool | str):
        return value
    number = float(value)
    if math.isinf(number):
        raise PluginError(f"the metric {label!r} must give finite numbers or None; its column {name!r} is {number}.")
    return None if math.isnan(number) else number
