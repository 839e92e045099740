"""Keep loaded models between the runs of one process, so that many small runs load each model once."""

import threading
from collections.abc import Mapping
from typing import Any, TypeAlias, final

from headrouter.models.backbone import Backbone

Loaded: TypeAlias = tuple[Backbone, Mapping[str, Any]]
"""A backbone, and the record of its loading."""


@final
class KeptModels:
    """Holds the models that no worker uses at the moment, all of one loading, since another one needs their memory."""

    def __init__(self) -> None:
        self._loading: tuple[str, ...] | None = None
        self._free: list[Loaded] = []
        self._lock = threading.Lock()

    def take(self, loading: tuple[str, ...]) -> Loaded | None:
        """Return a model that was loaded so, which is the worker's now; None, and room for it, if there is none."""
        with self._lock:
            if loading != self._loading:
                self._free.clear()
            return self._free.pop() if self._free else None

    def put(self, loading: tuple[str, ...], model: Loaded) -> None:
        """Give a model back."""
        with self._lock:
            if loading != self._loading:
                self._free.clear()
            self._loading = loading
            self._free.append(model)
