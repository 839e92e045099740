"""Compare two runs: what made them, and their results, edit by edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrouter.editing.record import differences
from headrouter.experiments.metric import Column
from headrouter.experiments.results.paired import Paired, compare
from headrouter.experiments.results.rows import is_rate
from headrouter.experiments.results.tables import paired_cells, paired_headings, table
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.lock import read_all
from headrouter.experiments.run_folder.origin import Origin, contradictions
from headrouter.experiments.run_folder.reading import records_by_key


@dataclass(frozen=True)
class Difference:
    """Holds how one run differs from another.

    Attributes:
        one, other: The run folders.
        origin: Differences of what made them, in sentences; those of the second are called "here".
        alone: Keys of configurations that only one of them has, with the folder that has it.
        paired: By configuration: mean differences of each column in the cells that both have done, the first minus the second.
        same: By key: the number of cells that both have done, and of those whose pictures are equal to the bit.
        columns: All columns, and those of them that hold truths.
    """

    one: Path
    other: Path
    origin: Sequence[str]
    alone: Mapping[str, Path]
    paired: Mapping[str, Paired]
    same: Mapping[str, tuple[int, int]]
    columns: Mapping[str, Column]
    rates: frozenset[str]

    def text(self) -> str:
        """Return lines for people."""
        lines = [f"{self.one} and {self.other}", ""]
        lines += self.origin or ["made by the same code, data and weights"]
        lines += [f"{key}: only in {folder}" for key, folder in self.alone.items()]
        lines += [f"{key}: {same} of {both} pictures are the same" for key, (both, same) in self.same.items()]
        if self.paired:
            rates = set(self.rates)
            rows = [[key, *paired_cells(one, self.columns, rates)[1:]] for key, one in self.paired.items()]
            lines += ["", f"{self.one} minus {self.other}, edit by edit:", ""]
            lines += table(paired_headings(self.columns, rates), rows)
        return "\n".join(lines)


def difference(one: str | Path, other: str | Path) -> Difference:
    """Compare two run folders, by the keys of their configurations.

    Raises:
        InvalidInputError: one of them is no run folder, or damaged.
    """
    paths = Path(one), Path(other)
    origins = [read_all(path) for path in paths]
    cells = [_finished(path) for path in paths]
    keys = [{**origins[0].configurations, **origins[1].configurations}, *(one.configurations for one in origins)]
    alone = {key: paths[key not in keys[1]] for key in keys[0] if (key in keys[1]) != (key in keys[2])}
    columns, paired, same = _columns(origins), dict[str, Paired](), dict[str, tuple[int, int]]()
    rows = [record for found in cells for records in found.values() for record in records.values()]
    for key in keys[0]:
        ours, theirs = (found.get(key, {}) for found in cells)
        if both := [cell for cell in ours if cell in theirs]:
            mine, others = [ours[cell] for cell in both], [theirs[cell] for cell in both]
            paired[key] = compare(mine, others, columns)
            pairs = zip(mine, others, strict=True)
            same[key] = (
                len(both),
                sum(a.saved is not None and b.saved is not None and a.saved.sha256 == b.saved.sha256 for a, b in pairs),
            )
    shown = {name: column for name, column in columns.items() if all(name in one.values for one in paired.values())}
    rates = frozenset(name for name in shown if is_rate(rows, name))
    return Difference(*paths, _of_origins(*origins), alone, paired, same, shown, rates)


def _finished(folder: Path) -> dict[str, dict[tuple[str, int], CellRecord]]:
    """Return the finished cells of each configuration, by item and seed."""
    found = records_by_key(folder)
    return {key: {(one.item, one.seed): one for one in some if one.edited} for key, some in found.items()}


def _columns(origins: Sequence[Origin]) -> dict[str, Column]:
    metrics = {label: plain for origin in origins for label, plain in origin.metrics.items()}
    return {
        f"{label}.{name}": Column(**one) for label, plain in metrics.items() for name, one in plain["columns"].items()
    }


def _of_origins(one: Origin, other: Origin) -> list[str]:
    """Name all that differs, the name of the experiment and packages included."""
    found = [f"{each.file}: {each.sentence}" for each in contradictions(one, other)]
    theirs, ours = (each.top.get("environment") for each in (one, other))
    return found + [f"environment: {each}" for each in differences(theirs, ours)]
