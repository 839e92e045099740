"""Lay out the cells of an experiment: a row for each edit and seed, a column for each configuration, in chunks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrouter.experiments.dataset import Item
from headrouter.experiments.page.gathering import Gathered
from headrouter.experiments.page.pictures import PictureShelf, Shown
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.files import LARGEST_TEXT, read_file

CHUNK: Final = 24
"""Rows of a chunk: the file that a page loads when one of them is looked at."""


@dataclass(frozen=True)
class Cells:
    """Holds the rows of a report, as plain data.

    Attributes:
        rows: What is searched by: key of the edit, of the picture, kind, seed, source prompt, prompt, whether a cell failed.
        chunks: The rest of each row, :data:`CHUNK` together: pictures, and by configuration what is on record.
        values: By column and configuration, the value of each row, by which rows are put into an order.
        failures: Errors, with the cells that have each.
        gaps: Pictures that are on record and not there.
    """

    rows: Sequence[Sequence[Any]]
    chunks: Sequence[Sequence[Mapping[str, Any]]]
    values: Mapping[str, Sequence[Sequence[Any]]]
    failures: Sequence[Mapping[str, Any]]
    gaps: Sequence[str]


def cells_of(gathered: Gathered, shelf: PictureShelf, columns: Sequence[str]) -> Cells:
    """Lay out the cells, and the pictures of each by ``shelf``."""
    by_cell = [{(one.item, one.seed): one for one in gathered.records[ran.key]} for ran in gathered.configurations]
    keys = _row_keys(gathered, by_cell)
    records = [one for some in by_cell for one in some.values()]
    shown = dict(zip(map(id, records), shelf.edits(records), strict=True))
    items = [gathered.items[key] for key in dict.fromkeys(item for item, _ in keys) if key in gathered.items]
    pictures = dict(zip((item.key for item in items), shelf.of_items(items), strict=True))
    rows, layers = list[list[Any]](), list[Mapping[str, Any]]()
    for key in keys:
        found = [some.get(key) for some in by_cell]
        rows.append(_row(key, gathered.items.get(key[0]), [one for one in found if one is not None]))
        made = [
            None if one is None else _cell(one, shown[id(one)], columns, gathered.folder, shelf.whole) for one in found
        ]
        layers.append({"of": {name: _plain(one) for name, one in pictures.get(key[0], {}).items()}, "cells": made})
    values = {name: [[_number(some.get(key), name) for key in keys] for some in by_cell] for name in columns}
    gaps = [shown[id(one)].missing for one in records if shown[id(one)].missing]
    gaps += [each.missing for some in pictures.values() for each in some.values() if each.missing]
    chunks = [layers[first : first + CHUNK] for first in range(0, len(layers), CHUNK)]
    return Cells(rows, chunks, values, _failures(keys, by_cell, shelf.whole), list(dict.fromkeys(gaps)))


def _row_keys(gathered: Gathered, by_cell: Sequence[Mapping[tuple[str, int], CellRecord]]) -> list[tuple[str, int]]:
    """Return item and seed of each row: edits in the order of the data set, and of each its seeds."""
    place = {key: number for number, key in enumerate(gathered.items)}
    found = {key for some in by_cell for key in some}
    return sorted(found, key=lambda key: (place.get(key[0], len(place)), key))


def _row(key: tuple[str, int], item: Item | None, records: Sequence[CellRecord]) -> list[Any]:
    failed = int(any(one.failures for one in records))
    if item is None:
        return [key[0], records[0].picture, records[0].kind, key[1], "", "", "", failed]
    return [*key[:1], item.picture_key, item.kind, key[1], item.source_prompt, item.prompt, item.instruction, failed]


def _cell(one: CellRecord, shown: Shown, columns: Sequence[str], folder: Path, whole: bool) -> dict[str, Any]:
    cost = [one.cost.calls, *(round(each, 3) for each in (one.cost.rows, one.cost.seconds, one.cost.processor))]
    texts = {name: value for name, value in one.values.items() if isinstance(value, str)}
    found = {
        **_plain(shown),
        "values": [_number(one, name) for name in columns],
        "texts": texts,
        "cost": [*cost, one.cost.peak_memory] if one.edited else [],
        "failures": [[during, each.type, each.sentence] for during, each in one.failures.items()],
        "maps": _maps(folder / one.maps) if one.maps else {},
    }
    return {name: value for name, value in found.items() if value}


def _plain(shown: Shown) -> dict[str, str]:
    found = {"picture": shown.picture, "thumbnail": shown.thumbnail, "missing": shown.missing}
    return {name: value for name, value in found.items() if value}


def _maps(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_file(path, "maps", LARGEST_TEXT))
    except ValueError as error:
        return {"missing": f"the maps cannot be read: {error}"}
    return found if isinstance(found, dict) else {"missing": f"the maps '{path.name}' are damaged."}


def _number(one: CellRecord | None, name: str) -> Any:
    value = None if one is None else one.values.get(name)
    return None if isinstance(value, str) else value if not isinstance(value, float) else float(f"{value:.6g}")


def _failures(
    keys: Sequence[tuple[str, int]], by_cell: Sequence[Mapping[tuple[str, int], CellRecord]], whole: bool
) -> list[dict[str, Any]]:
    """Return errors, the most frequent first; without links to tracebacks where the page goes without the run folder."""
    place, found = {key: number for number, key in enumerate(keys)}, dict[tuple[str, str, str], list[list[Any]]]()
    for column, some in enumerate(by_cell):
        for key, one in some.items():
            for during, failure in one.failures.items():
                cell = [place[key], column, "" if whole else failure.traceback]
                found.setdefault((during, failure.type, failure.sentence), []).append(cell)
    errors = sorted(found.items(), key=lambda one: -len(one[1]))
    return [{"during": d, "type": t, "sentence": s, "cells": sorted(cells)} for (d, t, s), cells in errors]
