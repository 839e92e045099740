"""Write all that a paper needs of a run into one folder."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrouter.experiments.configuration import EDITORS, slug_of
from headrouter.experiments.metric import Column
from headrouter.experiments.published.comparison import Comparison
from headrouter.experiments.results.paired import Paired
from headrouter.experiments.results.paper import figures, latex
from headrouter.experiments.results.summary import Summary
from headrouter.files import write_whole
from headrouter.imaging.picture import writable_folder


def write_paper(
    folder: Path,
    title: str,
    summaries: Sequence[Summary],
    columns: Mapping[str, Column],
    rates: set[str],
    paired: Sequence[Paired],
    found: Sequence[Comparison],
) -> list[Path]:
    """Write LaTeX tables, and figures as SVG, PDF and PNG, into the folder ``paper`` of a run, and return the files.

    Args:
        folder: The run folder.
        title: Of the experiment, for comments in the tables.
        summaries: Of all configurations.
        columns: Those that are shown.
        rates: Columns of truths.
        paired: Differences to the baseline.
        found: Comparisons with published figures.
    """
    place = writable_folder(folder / "paper")

    def written(name: str, text: str) -> Path:
        return write_whole(place / f"{name}.tex", text.encode())

    files = []
    for backbone, group in itertools.groupby(summaries, key=lambda one: one.backbone):
        members, name = list(group), slug_of(backbone or EDITORS)
        files.append(written(f"table-{name}", latex.summary_table(members, columns, rates, title)))
        if compared := [one for one in paired if one.backbone == backbone]:
            files.append(written(f"paired-{name}", latex.paired_table(compared, columns, rates, title)))
        files += figures.trade_off(members, columns, rates, place / f"trade-off-{name}")
        files += figures.by_kind(members, columns, rates, place / f"by-kind-{name}")
    for number, one in enumerate(found, 1):
        files.append(written(f"published-{number}", latex.published_table(one, f"{title}; {one.title}")))
    return files
