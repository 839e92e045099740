"""Keep the diagnostics of edits that are small enough for a record."""

import math
from typing import Any, Final

from torch import Tensor

from headrouter.editing.assembly import names_of
from headrouter.editing.batch import Edited
from headrouter.experiments.configuration import Configuration

_SMALL: Final = 64
"""Numbers of a diagnostic tensor that is kept in a record."""


def small_diagnostics(configuration: Configuration, edited: Edited, order: Tensor) -> list[dict[str, dict[str, Any]]]:
    """Return for each edit those tensors of each method that are small, as lists; what is not finite is None."""
    names = names_of("method", configuration.methods)
    rows: list[dict[str, dict[str, Any]]] = [{} for _ in order]
    for method, tensors in zip(names, edited.diagnostics, strict=False):  # word maps may come behind
        for name, tensor in tensors.items():
            if tensor.ndim and tensor[0].numel() <= _SMALL:
                for row, values in zip(rows, tensor[order].tolist(), strict=True):
                    row.setdefault(method, {})[name] = _finite(values)
    if edited.strengths:
        for row, place in zip(rows, order.tolist(), strict=True):
            row["strength"] = {"chosen": edited.strengths[place]}
    return rows


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if not isinstance(values, float) else round(values, 6) if math.isfinite(values) else None
