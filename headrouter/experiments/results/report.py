"""Write the tables, pictures and the page of a run folder."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.dataset import Item
from headrouter.experiments.metric import Column
from headrouter.experiments.page.gathering import Gathered, gather
from headrouter.experiments.page.writing import write_page
from headrouter.experiments.published import comparison
from headrouter.experiments.published.comparison import Comparison, comparisons
from headrouter.experiments.results import tables
from headrouter.experiments.results.paired import Paired, compare_all
from headrouter.experiments.results.paper.writing import write_paper
from headrouter.experiments.results.plots import save_frontier
from headrouter.experiments.results.rows import by_configuration, is_rate
from headrouter.experiments.results.sheets import Line, save_comparison
from headrouter.experiments.results.summary import Summary, summarise
from headrouter.experiments.run_folder.cell import CellRecord
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
        files: Tables and pictures in the run folder, and the page.
        failed: Number of failed edits of each configuration that has some.
        problems: What is missing or damaged in the run folder, in sentences.
        comparisons: Published figures with ours beside them.
    """

    sections: Sequence[Section]
    files: Sequence[Path]
    failed: Mapping[str, int]
    problems: Sequence[str] = ()
    comparisons: Sequence[Comparison] = ()


@dataclass(frozen=True)
class Results:
    """Holds the finished edits of a run folder and what tables are made of.

    Attributes:
        gathered: All that the folder holds.
        rows: The finished edits.
        columns: Of all metrics.
        rates: Columns of truths.
        summaries: Of each configuration.
        baseline: Name of the configuration that the others are compared with; empty for none.
        paired: Differences to it.
    """

    gathered: Gathered
    rows: Sequence[CellRecord]
    columns: Mapping[str, Column]
    rates: set[str]
    summaries: Sequence[Summary]
    baseline: str = ""
    paired: Sequence[Paired] = field(default_factory=list)

    @classmethod
    def of(cls, gathered: Gathered, baseline: str | None = None) -> "Results":
        """Summarise what a run folder holds.

        Raises:
            InvalidInputError: no configuration has the name or key ``baseline``.
        """
        rows, columns = [one for one in gathered.every if one.edited], gathered.columns
        names = list(dict.fromkeys(one.configuration for one in rows))
        base = gathered.name_of(baseline)
        base = base if base in names else ""
        if baseline and not base:
            key = next((one.key for one in gathered.configurations if one.name in names), "sd3.5/rf")
            raise InvalidInputError(
                f"`baseline` {baseline!r} is none of the configurations with finished edits: {', '.join(names)}. Give the name of "
                f"one, or its key, such as {key!r}."
            )
        rates = {name for name in columns if is_rate(rows, name)}
        paired = compare_all(rows, base, columns) if base else []
        return cls(gathered, rows, columns, rates, summarise(rows, columns), base, paired)


def report(
    folder: str | Path,
    baseline: str | None = None,
    only: Sequence[str] = (),
    page: str | Path | None = None,
    paper: bool = False,
) -> Report:
    """Write tables, ``summary.png``, ``edits-BACKBONE.png`` and the page ``report/index.html`` into a run folder.

    The tables are ``table.md`` and ``table.csv``, and ``published.csv`` where the experiment names published figures.

    Args:
        folder: Run folder, finished or not, damaged or not: what there is is shown, and what is missing is named.
        baseline: Name or key of the configuration that the others are compared with; that of the experiment if None.
        only: Keys of the edits to be summarised; all if empty.
        page: Folder for the page, with copies of all pictures, so that it can go without the run folder.
        paper: Write LaTeX tables and figures for papers, too, into ``paper/``.

    Raises:
        InvalidInputError: it is no run folder, or no configuration has the name or key ``baseline``.
    """
    folder = Path(folder)
    gathered = gather(folder, only)
    results = Results.of(gathered, baseline)
    compared = _compared(folder, results)
    files = _tables(folder, results, compared) if results.rows else []
    if paper and results.rows:
        shown = tables.shown(results.summaries, results.columns)
        title = _title(folder, results)
        files += write_paper(folder, title, results.summaries, shown, results.rates, results.paired, compared)
    place = folder / "report" if page is None else Path(page)
    files.append(write_page(gathered, place, results.baseline, compared, whole=page is not None))
    failed = Counter(one.configuration for one in gathered.every if not one.edited)
    problems = [
        *gathered.problems,
        *([] if results.rows else ["There is no finished edit yet, so there are no tables."]),
    ]
    return Report(_sections(results), files, failed, problems, compared)


def _compared(folder: Path, results: Results) -> list[Comparison]:
    """Return published figures with ours beside them; a damaged file with them is a problem to be named."""
    try:
        return comparisons(folder, results.gathered.origin, results.summaries, results.columns, results.rates)
    except HeadRouterError as error:
        results.gathered.problems.append(f"There are no published figures: {error}")
        return []


def _title(folder: Path, results: Results) -> str:
    top = results.gathered.top
    return f"{top.get('experiment', folder.name)}, {top.get('dataset', {}).get('name', 'unknown data')}"


def _sections(results: Results) -> list[Section]:
    sections, shown, rates = list[Section](), tables.shown(results.summaries, results.columns), results.rates
    for group, some in itertools.groupby(results.summaries, key=lambda one: one.backbone):
        lines = [tables.cells(one, shown, rates) for one in some]
        sections.append(Section(f"{group or 'other editors'}", tables.headings(shown), lines))
        mine = [one for one in results.paired if one.backbone == group]
        if differences := [tables.paired_cells(one, shown, rates) for one in mine]:
            title = f"minus {results.baseline}, edit by edit"
            sections.append(Section(title, tables.paired_headings(shown, rates), differences))
    return sections


def _tables(folder: Path, results: Results, compared: Sequence[Comparison]) -> list[Path]:
    """Write tables and pictures of finished edits into the run folder."""
    columns, rates, summaries = results.columns, results.rates, results.summaries
    files = [folder / "table.md", folder / "table.csv"]
    text = tables.markdown(summaries, columns, rates, _title(folder, results), results.paired)
    write_whole(files[0], (text + comparison.as_markdown(compared)).encode())
    write_whole(files[1], tables.as_csv(summaries, tables.shown(summaries, columns)).encode())
    if compared:
        files.append(write_whole(folder / "published.csv", comparison.as_csv(compared).encode()))
    if save_frontier(summaries, columns, rates, folder / "summary.png"):
        files.append(folder / "summary.png")
    done = {one.item for one in results.rows}
    items = [item for item in results.gathered.items.values() if item.key in done]
    if items:
        try:
            files += _sheets(folder, results.rows, items, next((name for name in columns if name in rates), ""))
        except (HeadRouterError, OSError) as error:
            results.gathered.problems.append(f"There is no sheet of pictures: {error}")
    return files


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
        try:
            return load_picture(path) if path else None
        except InvalidInputError:  # missing or damaged: a gap
            return None
