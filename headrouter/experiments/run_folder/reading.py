"""Read the results of a run folder, whether anybody is at work there or not."""

from pathlib import Path

from headrouter.experiments.configuration import EDITORS
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.lock import read_all
from headrouter.experiments.run_folder.record_log import RECORDS, RecordLog, named


def read_records(folder: str | Path) -> list[CellRecord]:
    """Return the records of a run folder, also of cells that failed: by configuration, seed and item.

    Raises:
        InvalidInputError: it is no run folder, or damaged: naming file and line.
    """
    return [record for records in records_by_key(folder).values() for record in records]


def records_by_key(folder: str | Path) -> dict[str, list[CellRecord]]:
    """Return the records of each configuration by its key, ``sd3.5/rf``; see :func:`read_records`."""
    origin, by_hash = read_all(Path(folder)), dict[str, list[CellRecord]]()
    found = RecordLog(Path(folder) / RECORDS).records
    for cell in sorted(found, key=lambda cell: (cell.seed, cell.item)):
        by_hash.setdefault(cell.configuration, []).append(found[cell])
    return {
        key: [
            named(one, plain["name"], "" if plain["group"] == EDITORS else plain["group"])
            for one in by_hash.get(plain["hash"], [])
        ]
        for key, plain in origin.configurations.items()
    }
