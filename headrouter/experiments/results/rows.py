"""Define a result that tables are made of."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Protocol

from headrouter.experiments.metric import Column, Metric, Value


class Row(Protocol):
    """Describes a finished edit.

    Attributes:
        backbone, configuration: Names; the backbone's is empty for other editors.
        item, picture, kind: Keys of the edit and of its picture, and its kind.
        seed: Of the noise.
        values: Of all metrics: ``psnr-1.psnr``.
        spent: Cost of the edit: ``calls``, ``rows``, ``seconds``, ``processor``.
    """

    @property
    def backbone(self) -> str: ...
    @property
    def configuration(self) -> str: ...
    @property
    def item(self) -> str: ...
    @property
    def picture(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def values(self) -> Mapping[str, Value]: ...
    @property
    def spent(self) -> Mapping[str, float]: ...


def columns_of(metrics: Mapping[str, Metric]) -> dict[str, Column]:
    """Return the columns of several metrics by their names in rows: ``psnr-1.psnr``."""
    return {f"{name}.{column}": one for name, metric in metrics.items() for column, one in metric.columns.items()}


def by_configuration(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each configuration, in their order: those of one backbone, then those of the next."""
    backbones: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        backbones.setdefault(row.backbone, {}).setdefault(row.configuration, []).append(row)
    for members in backbones.values():
        yield from members.values()


def counts(row: Row, name: str, column: Column) -> bool:
    """Return whether a value counts: it is there, and what it is given is true."""
    if row.values.get(name) is None:
        return False
    return not column.given or row.values.get(f"{name.rpartition('.')[0]}.{column.given}") is True


def is_rate(rows: Sequence[Row], name: str) -> bool:
    """Return whether a column holds truths, of which a table has the rate."""
    found = [row.values[name] for row in rows if row.values.get(name) is not None]
    return bool(found) and all(isinstance(value, bool) for value in found)


def is_text(rows: Sequence[Row], name: str) -> bool:
    """Return whether a column holds texts, which no table has."""
    return any(isinstance(row.values.get(name), str) for row in rows)


def pictures_of(rows: Sequence[Row]) -> list[Hashable]:
    """Return the picture of each row, the groups of an interval."""
    return [row.picture for row in rows]
