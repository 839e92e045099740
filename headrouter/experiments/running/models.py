"""Keep loaded models and networks of metrics between the runs of one process, so that each is loaded once."""

import threading
from collections.abc import Mapping
from typing import Any, TypeAlias, final

from headrouter.experiments.metric import Metric
from headrouter.experiments.running.measuring import Metrics
from headrouter.models.backbone import Backbone

Loaded: TypeAlias = tuple[Backbone, Mapping[str, Any]]
"""A backbone, and the record of its loading."""


@final
class KeptModels:
    """Holds the models that no worker uses at the moment, all of one loading, and the metrics with their networks.

    Models of another loading and other metrics take the place of those that are there, since they need the memory.
    """

    def __init__(self) -> None:
        self._loading: tuple[str, ...] = ()
        self._free: list[Loaded] = []
        self._lock = threading.Lock()
        self._measured: tuple[Mapping[str, Metric], str] | None = None
        self._metrics: Metrics | None = None

    def take(self, loading: tuple[str, ...], device: str) -> Loaded | None:
        """Return a model that was loaded so, which is the worker's now; None, and room for it, if there is none."""
        with self._lock:
            self._make_room((*loading, device))
            return self._free.pop() if self._free else None

    def put(self, loading: tuple[str, ...], device: str, model: Loaded) -> None:
        """Give a model back."""
        with self._lock:
            self._make_room((*loading, device))
            self._free.append(model)

    def metrics(self, metrics: Mapping[str, Metric], device: str) -> Metrics:
        """Return these metrics, whose networks are loaded on the device if an earlier run has loaded them."""
        if self._metrics is None or self._measured != (metrics, device):
            self._measured, self._metrics = (metrics, device), Metrics(metrics, device)
        return self._metrics

    def _make_room(self, loading: tuple[str, ...]) -> None:
        if loading != self._loading:
            self._loading = loading
            self._free.clear()
