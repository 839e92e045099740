"""Keep what made the results of a run folder, and refuse to continue it with anything else. Its files are written once."""

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrouter.editing.record_file import as_json
from headrouter.errors import InvalidInputError
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder.origin import Origin, contradictions, environment
from headrouter.files import LARGEST_TEXT, read_file
from headrouter.plugins.code import commit

LOCK: Final = "lock.json"
_REMAINS: Final = ("records", "configurations", "metrics", "pictures")


@dataclass(frozen=True)
class Agreement:
    """Holds what an experiment and a run folder agree on.

    Attributes:
        hashes: By the key of each configuration its hash in the folder.
        frozen: Labels of metrics that other code has measured; they stay as they are.
    """

    hashes: Mapping[str, str]
    frozen: frozenset[str] = frozenset()


def agree(folder: Path, room: Path, experiment: Experiment, *, edits: bool = True) -> Agreement:
    """Write what is new of an experiment, after refusing what contradicts the folder.

    Args:
        folder: The run folder.
        room: An own folder on the same file system to write in.
        experiment: Its configurations and metrics may be fewer or more than those of the folder.
        edits: Whether edits are to be made. Measuring alone may be done by other code, and adds no configuration.

    Raises:
        InvalidInputError: naming all that differs; nothing is written then.
    """
    ours, found = Origin.of(experiment), read_all(folder) if (folder / LOCK).exists() else None
    if found is None:
        for name in _REMAINS:
            if (folder / name).exists() and not (folder / LOCK).exists():  # by now another process may have begun
                raise InvalidInputError(
                    f"'{folder / name}' has no {LOCK} beside it, so that nothing says what made it. Move it away."
                )
        _write(folder / LOCK, {**ours.top, "environment": environment()}, room)
        found = read_all(folder)
    wrong = contradictions(found, ours)
    serious = [one for one in wrong if edits or not one.code]
    if serious:
        theirs = found.top.get("environment", {}).get("commit") or "unknown"
        commits = (
            f" It was begun at commit {theirs}, here is {commit() or 'unknown'}."
            if any(one.code for one in wrong)
            else ""
        )
        raise InvalidInputError(
            "\n".join(f"'{folder / one.file}': {one.sentence}" for one in serious)
            + f"{commits} Choose another folder, or continue with what began it."
        )
    new = [*(("metrics", label) for label in ours.metrics if label not in found.metrics)]
    if edits:
        new += [("configurations", key) for key in ours.configurations if key not in found.configurations]
    for kind, name in new:
        _write(folder / kind / f"{name}.json", getattr(ours, kind)[name], room)
    if new:  # another process may have been first, with another experiment
        return agree(folder, room, experiment, edits=edits)
    hashes = {key: found.configurations.get(key, plain)["hash"] for key, plain in ours.configurations.items()}
    return Agreement(hashes, frozenset(one.name for one in wrong if one.kind == "metrics"))


def read_all(folder: Path) -> Origin:
    """Return what made the results of a run folder.

    Raises:
        InvalidInputError: it is no run folder, or damaged.
    """
    if not (folder / LOCK).is_file():
        raise InvalidInputError(
            f"'{folder}' is no run folder: it has no {LOCK}. Give the folder of `headrouter experiment run`."
        )

    def entries(kind: str) -> dict[str, Any]:
        paths = sorted((folder / kind).rglob("*.json"))
        return {path.relative_to(folder / kind).as_posix().removesuffix(".json"): _read(path) for path in paths}

    return Origin(_read(folder / LOCK), entries("configurations"), entries("metrics"))


def read_whole_part(folder: Path) -> tuple[Origin, list[str]]:
    """Return what can be read of what made the results of a run folder, and a sentence for each file that cannot.

    Raises:
        InvalidInputError: it is no run folder: it has neither a lock file nor records.
    """
    wrong: list[str] = []
    if not (folder / LOCK).is_file() and (folder / "records").is_dir():
        wrong.append(f"'{folder / LOCK}' is missing: name, data set and baseline of the experiment are not known.")
        top: dict[str, Any] = {}
    elif not (folder / LOCK).is_file():
        return read_all(folder), []  # refuses it
    else:
        top = _attempted(folder / LOCK, wrong)

    def entries(kind: str) -> dict[str, Any]:
        paths = sorted((folder / kind).rglob("*.json"))
        found = {
            path.relative_to(folder / kind).as_posix().removesuffix(".json"): _attempted(path, wrong) for path in paths
        }
        return {key: plain for key, plain in found.items() if plain}

    return Origin(top, entries("configurations"), entries("metrics")), wrong


def _attempted(path: Path, wrong: list[str]) -> dict[str, Any]:
    try:
        return _read(path)
    except InvalidInputError as error:
        wrong.append(str(error))
        return {}


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(read_file(path, "run folder", LARGEST_TEXT).decode())
        if not isinstance(plain, dict):
            raise ValueError("it holds no mapping")
        if path.parent.name != "metrics" and path.name != LOCK:
            str.isalnum(plain["hash"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"'{path}' is damaged: {error}. Move the run folder away to start anew.") from error
    return plain


def _write(path: Path, plain: Mapping[str, Any], room: Path) -> None:
    """Write a file unless it is there, whole or not at all."""
    new = room / uuid.uuid4().hex
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(as_json(dict(plain)))
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not path.exists():
                new.replace(path)
    except OSError as error:
        raise InvalidInputError(
            f"cannot write '{path}': {error.strerror or error}. Make room, or choose another folder."
        ) from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
