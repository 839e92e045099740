"""Put the run folders of several shards together into one."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from headrouter.errors import InvalidInputError
from headrouter.experiments.published.choice import FILE
from headrouter.experiments.run_folder.lock import LOCK, read_all
from headrouter.experiments.run_folder.origin import contradictions
from headrouter.experiments.run_folder.record_log import SUFFIX, RecordLog
from headrouter.files import write_whole
from headrouter.imaging.picture import writable_folder

_PARTS = (
    "pictures",
    "diagnostics",
    "failures",
    "configurations",
    "metrics",
    "records",
)  # records last: they say that the rest is there


def merge(folders: Sequence[str | Path], into: str | Path) -> Path:
    """Copy what is in several run folders into one, new or one of the same experiment.

    Started again after a kill, it goes on. The folders stay as they are.

    Raises:
        InvalidInputError: they are of different experiments, code or weights, or hold different results of a cell.
    """
    sources, target = [Path(folder) for folder in folders], writable_folder(into)
    if not sources:
        raise InvalidInputError("`folders` must name a run folder at least.")
    whole = [*sources, *([target] if (target / LOCK).is_file() else [])]
    first, *others = [read_all(folder) for folder in whole]
    for folder, origin in zip(whole[1:], others, strict=True):
        if wrong := contradictions(first, origin):
            raise InvalidInputError(
                f"`folders` must hold parts of one experiment; '{whole[0]}' and '{folder}' differ. "
                + " ".join(one.sentence for one in wrong)
            )
    for folder in sources:
        RecordLog(folder / "records")  # refuses damaged ones
        if folder.resolve() == target.resolve():
            continue
        for file in (LOCK, FILE):
            if (folder / file).is_file() and not (target / file).is_file():
                write_whole(target / file, (folder / file).read_bytes())
        for part in _PARTS:
            _copy(folder / part, target / part)
    RecordLog(target / "records")
    return target


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir() or (place.exists() and (path.suffix != SUFFIX or place.stat().st_size >= path.stat().st_size)):
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished = place.with_name(f".{place.name}.new")
            shutil.copyfile(path, unfinished)
            unfinished.replace(place)
        except OSError as error:
            raise InvalidInputError(
                f"cannot write '{place}': {error.strerror or error}. Make room, and merge again."
            ) from error
