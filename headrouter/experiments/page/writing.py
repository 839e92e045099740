"""Write the page of an experiment into a folder: one file of HTML, its style and scripts, data in chunks, pictures."""

import json
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from headrouter.errors import InvalidInputError
from headrouter.experiments.page.cells import CHUNK, cells_of
from headrouter.experiments.page.gathering import Gathered, Ran
from headrouter.experiments.page.numbers import numbers_of
from headrouter.experiments.page.pictures import PictureShelf, write_text
from headrouter.experiments.page.reproducing import command, experiment_file, file_name
from headrouter.experiments.published.comparison import Comparison
from headrouter.experiments.radar import KINDS
from headrouter.experiments.results.plots import axes_of
from headrouter.imaging.picture import writable_folder
from headrouter.version import __version__

PAGE: Final = "index.html"
SCRIPTS: Final = ("elements.js", "charts.js", "tables.js", "pictures.js", "viewer.js", "views.js")
"""In the order in which they are loaded."""
_LISTED: Final = 20
"""Missing pictures that are named one by one."""


def write_page(
    gathered: Gathered, page: Path, baseline: str, comparisons: Sequence[Comparison] = (), *, whole: bool = False
) -> Path:
    """Write the page of what a run folder holds; returns the file to open.

    Args:
        gathered: What it holds, whole or not: what is missing is said on the page.
        page: Folder of the page, new or of an earlier page.
        baseline: Name of the configuration that the others are compared with; empty for none.
        comparisons: Tables of published figures beside ours.
        whole: Copy the edits too, so that the page can go without the run folder.

    Raises:
        InvalidInputError: the folder cannot be written, or holds something else.
    """
    _refuse_strangers(page)
    target = writable_folder(page)
    salt = str((gathered.top.get("dataset") or {}).get("revision", ""))
    shelf = PictureShelf(target, gathered.folder, whole, salt)
    rows = [one for one in gathered.every if one.edited]
    numbers = numbers_of(rows, gathered.columns, baseline, gathered.radar)
    try:
        cells = cells_of(gathered, shelf, list(numbers.columns))
        problems = [*gathered.problems, *_of_gaps(cells.gaps)]
        axes = axes_of(numbers.columns, numbers.rates)
        summary = {
            "title": str(gathered.top.get("experiment") or gathered.folder.name),
            "baseline": baseline,
            "chunk": CHUNK,
            "kinds": numbers.kinds,
            "radarKinds": KINDS,
            "radarOf": dict(gathered.radar),
            "columns": numbers.headings(),
            "axes": [list(numbers.columns).index(name) for name in axes or ()],
            "configurations": [
                {
                    **_configuration(gathered, one),
                    "means": numbers.means.get((one.backbone, one.name)),
                    "differences": numbers.differences.get((one.backbone, one.name)),
                    "radar": numbers.radar.get((one.backbone, one.name)),
                    "cost": numbers.costs.get((one.backbone, one.name)),
                }
                for one in gathered.configurations
            ],
            "rows": cells.rows,
            "failures": cells.failures,
            "published": [_comparison(one) for one in comparisons],
        }
        for one in gathered.configurations:
            if text := experiment_file(gathered, one):
                write_text(target / "files" / file_name(one), text)
        _write_data(target, "summary", summary)
        _write_data(target, "values", cells.values)
        for number, chunk in enumerate(cells.chunks):
            _write_data(target, f"rows-{number}", chunk)
        for name in (*SCRIPTS, "page.css"):
            content = files("headrouter.experiments.page").joinpath("assets", name).read_text(encoding="utf-8")
            write_text(target / "assets" / name, content)
        write_text(target / PAGE, _html(gathered, summary, problems))
    except OSError as error:
        raise InvalidInputError(f"cannot write '{error.filename or target}': {error.strerror or error}.") from error
    return target / PAGE


def _refuse_strangers(page: Path) -> None:
    """Refuse a folder whose files this page would lie among."""
    if page.is_dir() and any(page.iterdir()) and not (page / "assets" / "page.css").is_file():
        raise InvalidInputError(f"`page` '{page}' holds other files. Give a new folder, or that of an earlier page.")


def _html(gathered: Gathered, summary: dict[str, Any], problems: Sequence[str]) -> str:
    environment = Environment(
        loader=PackageLoader("headrouter.experiments.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = gathered.top.get("environment") or {}
    packages = known.get("packages") or {}
    counts = [sum(one[name] for one in summary["configurations"]) for name in ("done", "failed", "left")]
    return environment.get_template("page.html").render(
        title=summary["title"],
        dataset=gathered.top.get("dataset") or {},
        edits=len({row[0] for row in summary["rows"]}),
        pictures=len({row[1] for row in summary["rows"]}),
        configurations=len(summary["configurations"]),
        baseline=summary["baseline"],
        done=counts[0],
        failed=counts[1],
        left=counts[2],
        problems=problems,
        at_work=sum(one.alive is not False for one in gathered.processes),
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        version=__version__,
        commit=known.get("commit") or "",
        system=", ".join(
            [f"Python {known.get('python')}", str(known.get("system"))]
            + [f"{name} {packages[name]}" for name in ("torch", "diffusers", "transformers") if name in packages]
            if known
            else []
        ),
        scripts=SCRIPTS,
    )


def _configuration(gathered: Gathered, one: Ran) -> dict[str, Any]:
    records = gathered.records[one.key]
    failed = sum(bool(record.failures) for record in records)
    seeds = {*one.seeds, *(record.seed for record in records)}
    expected = (gathered.top.get("items") or len(gathered.items)) * len(seeds)
    plain = one.plain.get("describes", {})
    return {
        "key": one.key,
        "name": one.name,
        "group": one.backbone or "other editors",
        "seeds": sorted(seeds),
        "done": len(records) - failed,
        "failed": failed,
        "left": max(0, expected - len(records)),
        "hash": one.hash,
        "weights": plain.get("weights", "") or plain.get("revision", ""),
        "file": file_name(one),
        "yaml": experiment_file(gathered, one),
        "command": command(one),
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "title": one.title,
        "source": one.source,
        "headings": list(one.headings),
        "lines": [
            {"origin": line.origin, "cells": [str(cell) for cell in line.cells], "remark": line.remark}
            for line in one.lines
        ],
        "notes": [list(note) for note in one.notes],
    }


def _of_gaps(gaps: Sequence[str]) -> list[str]:
    """Return sentences on pictures that are missing: the first by name, and the number of the rest."""
    found = [f"{gap[:1].upper()}{gap[1:]}." for gap in gaps[:_LISTED]]
    return [*found, *([f"{len(gaps) - _LISTED} further pictures are missing."] if len(gaps) > _LISTED else [])]


def _write_data(page: Path, name: str, plain: Any) -> None:
    """Write a script that hands plain data over: a page on disk may load scripts, and nothing else."""
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").encode(errors="backslashreplace").decode()
    write_text(page / "data" / f"{name}.js", f'Report.receive("{name}",{text});\n')
