"""Compare one configuration with another, edit by edit.

The mean of what an edit must not change flatters failures: an edit that changes nothing keeps everything. Of two configurations
that succeed in different edits it compares different things. So a column that counts only where another is true
(:attr:`~headrouter.experiments.metric.Column.given`) is compared in the edits where it is true of both, and any other in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrouter.errors import InvalidInputError
from headrouter.experiments.metric import Column
from headrouter.experiments.results.rows import Row, by_configuration, counts, is_text, pictures_of
from headrouter.experiments.statistics import Estimate, mean


@dataclass(frozen=True, slots=True)
class Paired:
    """Holds differences between a configuration and its baseline, with 95 % intervals.

    Attributes:
        backbone, configuration, baseline: Names.
        values: Mean difference of each column, its value minus that of the baseline.
    """

    backbone: str
    configuration: str
    baseline: str
    values: Mapping[str, Estimate]


def compare(rows: Sequence[Row], baseline: Sequence[Row], columns: Mapping[str, Column]) -> Paired:
    """Compare the rows of one configuration with those of another, on the same edits and seeds.

    Raises:
        InvalidInputError: other edits, or none.
    """
    known = {(row.item, row.seed): row for row in baseline}
    if not rows or sorted(known) != sorted((row.item, row.seed) for row in rows):
        raise InvalidInputError("`baseline` must have the same edits as `rows`, one row for each.")
    pairs = [(row, known[row.item, row.seed]) for row in rows]
    values = {
        name: _difference(pairs, name, column)
        for name, column in columns.items()
        if not is_text([*rows, *baseline], name)
    }
    return Paired(rows[0].backbone, rows[0].configuration, baseline[0].configuration, values)


def _difference(pairs: Sequence[tuple[Row, Row]], name: str, column: Column) -> Estimate:
    there = [pair for pair in pairs if all(counts(row, name, column) for row in pair)]
    ours = [row for row, _ in there]
    differences = [float(one.values[name]) - float(other.values[name]) for one, other in there]  # type: ignore[arg-type]
    return mean(differences, pictures_of(ours), [row.kind for row in ours])


def compare_all(rows: Sequence[Row], baseline: str, columns: Mapping[str, Column]) -> list[Paired]:
    """Compare every configuration with the one of that name of its own backbone, in the edits that both have.

    A configuration of a backbone without the baseline, as another editor has none, is compared with the only baseline there is.
    """
    grouped = {(some[0].backbone, some[0].configuration): some for some in by_configuration(rows)}
    bases = {backbone: some for (backbone, name), some in grouped.items() if name == baseline}
    found = []
    for (backbone, name), some in grouped.items():
        base = bases.get(backbone, next(iter(bases.values())) if len(bases) == 1 else None)
        if name == baseline or base is None:
            continue
        common = {(row.item, row.seed) for row in some} & {(row.item, row.seed) for row in base}
        if common:
            ours, theirs = ([row for row in one if (row.item, row.seed) in common] for one in (some, base))
            found.append(compare(ours, theirs, columns))
    return found
