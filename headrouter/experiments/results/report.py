"""Write the tables and pictures of a run folder."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from headrouter.config.configuration import validate
from headrouter.editing.assembly import part_class
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.dataset import Dataset, Item
from headrouter.experiments.metric import Column
from headrouter.experiments.results import tables
from headrouter.experiments.results.paired import compare_all
from headrouter.experiments.results.plots import save_frontier
from headrouter.experiments.results.rows import by_configuration, is_rate
from headrouter.experiments.results.sheets import Line, save_comparison
from headrouter.experiments.results.summary import summarise
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.lock import read_all
from headrouter.experiments.run_folder.reading import read_records
from headrouter.files import write_whole
from headrouter.imaging.picture import load_picture


@dataclass(frozen=True, slots=True)
class Section:
    """Holds a table to be shown."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Report:
    """Holds what a report says and has written.

    Attributes:
        sections: Tables of all edits, and of the differences to the baseline, for each backbone.
        files: Tables and pictures in the run folder.
        failed: Number of failed edits of each configuration that has some.
        missing: Why there are no sheets of pictures; empty if there are.
    """

    sections: Sequence[Section]
    files: Sequence[Path]
    failed: Mapping[str, int]
    missing: str = ""


def report(folder: str | Path, baseline: str | None = None, only: Sequence[str] = ()) -> Report:
    """Write ``table.md``, ``table.csv``, ``summary.png`` and ``edits-BACKBONE.png`` into a run folder.

    Args:
        folder: Run folder, finished or not: what there is is shown.
        baseline: Name of the configuration that the others are compared with; that of the experiment if None.
        only: Keys of the edits to be summarised; all if empty.

    Raises:
        InvalidInputError: it is no run folder, damaged, or holds no finished edit, or no configuration is named ``baseline``.
    """
    folder = Path(folder)
    known = read_all(folder)
    order = {one["hash"]: place for place, one in enumerate(sorted(known.configurations.values(), key=_place))}
    every = [one for one in read_records(folder) if not only or one.item in only]
    every.sort(key=lambda one: (order[one.cell.configuration], one.seed, one.item))
    rows = [one for one in every if one.edited]
    if not rows:
        raise InvalidInputError(f"'{folder}' holds no finished edit yet. Run the experiment first.")
    columns = {
        f"{label}.{name}": Column(**column)
        for label, metric in known.metrics.items()
        for name, column in metric["columns"].items()
    }
    base = known.top.get("baseline", "") if baseline is None else baseline
    names = list(dict.fromkeys(one.configuration for one in rows))
    if baseline and baseline not in names:
        raise InvalidInputError(f"`baseline` {baseline!r} is none of the configurations: {', '.join(names)}.")
    rates = {name for name in columns if is_rate(rows, name)}
    summaries = summarise(rows, columns)
    shown = tables.shown(summaries, columns)
    paired = compare_all(rows, base, columns) if base in names else []
    sections = []
    for group, some in itertools.groupby(summaries, key=lambda one: one.backbone):
        lines = [tables.cells(one, shown, rates) for one in some]
        sections.append(Section(f"{group or 'other editors'}", tables.headings(shown), lines))
        if differences := [tables.paired_cells(one, shown, rates) for one in paired if one.backbone == group]:
            title = f"minus {base}, edit by edit"
            sections.append(Section(title, tables.paired_headings(shown, rates), differences))
    title = f"{known.top['experiment']}, {known.top['dataset']['name']}"
    files = [folder / "table.md", folder / "table.csv"]
    write_whole(files[0], tables.markdown(summaries, columns, rates, title, paired).encode())
    write_whole(files[1], tables.as_csv(summaries, shown).encode())
    if save_frontier(summaries, columns, rates, folder / "summary.png"):
        files.append(folder / "summary.png")
    failed, missing = Counter(one.configuration for one in every if not one.edited), ""
    try:
        items = _items(known.top["dataset"], {one.item for one in rows})
    except HeadRouterError as error:
        missing = str(error)
    else:
        files += _sheets(folder, rows, items, next((name for name in columns if name in rates), ""))
    return Report(sections, files, failed, missing)


def _place(configuration: Mapping[str, Any]) -> tuple[str, int, str]:
    """Return a sort key: the backbone, then the place in the experiment."""
    return configuration["group"], configuration.get("place", 0), configuration["name"]


def _items(dataset: Mapping[str, Any], keys: set[str]) -> list[Item]:
    """Return the items of a run's data set, read again, that have these keys.

    Raises:
        HeadRouterError: it is not there any more, or another one.
    """
    values = {name: value for name, value in dataset.items() if name not in ("name", "revision", "code")}
    found: Dataset = validate(part_class("dataset", dataset["name"]), values)
    if found.revision != dataset["revision"]:
        raise InvalidInputError(f"the data set {dataset['name']!r} is not the one of the run any more.")
    return [item for item in found.items() if item.key in keys]


def _sheets(folder: Path, rows: Sequence[CellRecord], items: Sequence[Item], truth: str) -> list[Path]:
    """Draw the edits of each backbone, with those of the first seed; a frame says whether the column ``truth`` is true."""
    files = []
    for group, several in itertools.groupby(by_configuration(rows), key=lambda some: some[0].backbone):
        lines = []
        for some in several:
            mine = {one.item: one for one in reversed(some) if isinstance(one, CellRecord)}
            right = {key: value for key, one in mine.items() if isinstance(value := one.values.get(truth), bool)}
            lines.append(Line(some[0].configuration, _Pictures(folder, mine), right))
        files.append(folder / f"edits-{group or 'editors'}.png")
        save_comparison(lines, items, files[-1])
    return files


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Reads the edited picture of an item; None where there is none."""

    folder: Path
    records: Mapping[str, CellRecord]

    def __call__(self, item: Item) -> Image.Image | None:
        saved = self.records[item.key].saved if item.key in self.records else None
        path = self.folder / saved.file if saved else None
        return load_picture(path) if path and path.is_file() else None
