"""Keep the SHA-256 sums of a pipeline's files beside them, and refuse a folder whose files are others.

The list is that of the program ``sha256sum``: ``sha256sum --check checksums.sha256`` reads it, and ``sha256sum FILES`` writes it.
"""

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Final

from headrouter.errors import WeightsError
from headrouter.files import LARGEST_TEXT, read_file, unreadable, write_whole

CHECKSUMS: Final = "checksums.sha256"
"""Name of the list, in the folder of the pipeline."""
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_PIECE: Final = 1 << 20


def write_checksums(folder: Path) -> None:
    """Write the list for a pipeline's folder as it is now.

    Raises:
        InvalidInputError: it cannot be written.
    """
    lines = [f"{_digest(folder / name)}  {name}\n" for name in files_of(folder)]
    write_whole(folder / CHECKSUMS, "".join(lines).encode())


def refuse_changed(source: str, folder: Path) -> None:
    """Check every file of a pipeline's folder against its list; a folder without one is left alone.

    Files beside the parts that the list does not name, such as a README, are read by no loader and may be there.

    Args:
        source: The folder as it was asked for, for messages.
        folder: The folder.

    Raises:
        WeightsError: naming the first file that is missing, changed, or in a part without being listed.
    """
    if not (folder / CHECKSUMS).exists():
        return
    try:
        listed = _listed(source, folder / CHECKSUMS)
        for name, wanted in listed.items():
            if not (folder / name).is_file():
                raise _refusal(source, f"has no {name}, which its {CHECKSUMS} lists")
            if _digest(folder / name) != wanted:
                raise _refusal(source, f"has another {name} than its {CHECKSUMS} was written for")
        for name in files_of(folder):
            if "/" in name and name not in listed:
                raise _refusal(source, f"has {name}, which its {CHECKSUMS} does not list")
    except OSError as error:
        raise WeightsError(unreadable(Path(error.filename or folder), error)) from error


def files_of(folder: Path) -> list[str]:
    """Return the names of a pipeline's files and of those of its parts, sorted, without the list and hidden ones."""
    beside = _shown(folder)
    every = [*beside, *(file for part in beside if part.is_dir() for file in _shown(part))]
    names = [file.relative_to(folder).as_posix() for file in every if file.is_file()]
    return sorted(name for name in names if name != CHECKSUMS)


def _shown(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def _listed(source: str, path: Path) -> dict[str, str]:
    listed = {}
    text = read_file(path, "model", LARGEST_TEXT).decode(errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise _refusal(source, f"has a damaged {CHECKSUMS}: line {number} is no sum with the name of a file")
        listed[PurePosixPath(found[2]).as_posix()] = found[1]  # without the ./ that `find` begins names with
    return listed


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(_PIECE):
            digest.update(part)
    return digest.hexdigest()


def _refusal(source: str, what: str) -> WeightsError:
    return WeightsError(
        f"`model` {source!r} {what}. Restore the folder: install or fetch it again, or `git restore` it in a checkout."
        f" If the change is meant, use a copy of the folder without {CHECKSUMS}."
    )
