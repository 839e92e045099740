"""Tell which data set a folder holds, by the names of its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Final


def _has(*patterns: str) -> Callable[[Path], bool]:
    return lambda folder: all(any(folder.glob(pattern)) for pattern in patterns)


_MARKS: Final[dict[str, tuple[str, Callable[[Path], bool]]]] = {
    "PieBench": ("pie-bench", _has("*mapping_file*.json")),
    "PieBenchPlusPlus": ("pie-bench-pp", _has("[0-9]_*_*/*.parquet")),
    "TEdBenchPlusPlus": ("tedbench-pp", _has("tedbench++.csv")),
    "TEdBench": ("tedbench", lambda folder: _has("originals", "*.json")(folder) or _has("**/val-*.parquet")(folder)),
    "EditEval": (
        "editeval",
        lambda folder: any(_has(f"{place}editing_prompts_collection.xlsx")(folder) for place in ("", "Dataset/")),
    ),
    "Pictures": ("pictures", lambda folder: any(_has(f"edits.{kind}")(folder) for kind in ("csv", "jsonl"))),
    "FlowEditYaml": ("flowedit-yaml", lambda folder: any(_has(f"*.{kind}")(folder) for kind in ("yaml", "yml"))),
}
"""For each class the name of its data set, and a test of a folder."""


def other_set(folder: Path, wanted: str) -> str:
    """Return a sentence that names the data set in ``folder``, if it is another than that of the class ``wanted``."""
    for owner, (name, holds) in _MARKS.items():
        if owner != wanted and holds(folder):
            return f" The folder looks like that of `name: {name}`."
    return ""
