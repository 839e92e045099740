"""Find the files of networks on this machine, and hash them."""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from headrouter.errors import InvalidInputError

WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_ENDINGS: Final = (".json", ".txt", ".model", ".safetensors", ".bin")
_BLOCK: Final = 1 << 22

Network = TypeVar("Network")
_loaded: "WeakValueDictionary[tuple[Any, ...], Any]" = WeakValueDictionary()


def model_folder(name: str, parameter: str, model_types: Iterable[str]) -> Path:
    """Return the folder of a model of transformers: a folder, or the hub's cache of a model's id.

    Args:
        name: A folder or a hub id.
        parameter: For messages.
        model_types: Those that will do, as in the model's ``config.json``.

    Raises:
        InvalidInputError: it is not there, lacks its weights, or is of another type.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    place = Path(name).expanduser()
    if not (place / "config.json").is_file():
        cached = try_to_load_from_cache(name, "config.json") if _is_id(name) else None
        if not isinstance(cached, str):
            get = f"Get it by `hf download {name}`, or give" if _is_id(name) else "Give"
            raise InvalidInputError(
                f"`{parameter}` {name!r} is neither a folder with config.json nor in the hub's cache '{constants.HF_HUB_CACHE}'. "
                f"{get} the folder where it is."
            )
        place = Path(cached).parent
    kind = json.loads((place / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in tuple(model_types):
        raise InvalidInputError(
            f"`{parameter}` {name!r} must be a model of type {' or '.join(model_types)} (got {kind!r})."
        )
    if not any((place / file).is_file() for file in WEIGHTS):
        raise InvalidInputError(
            f"`{parameter}` {name!r} has no weights, {' or '.join(WEIGHTS)}, in '{place}'. Download it again."
        )
    return place


def _is_id(name: str) -> bool:
    return name.count("/") <= 1 and not name.startswith((".", "/", "~")) and bool(name) and "\\" not in name


def folder_revision(folder: Path) -> str:
    """Return a hash of a model's files: its configuration, vocabulary and weights, safetensors if there are both forms."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in _ENDINGS)
    if any(file.suffix == ".safetensors" for file in files):
        files = [file for file in files if file.suffix != ".bin"]
    return files_revision(files)


def files_revision(files: Iterable[Path]) -> str:
    """Return a hash of files with their names."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.name} {_file_hash(file, status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=256)
def _file_hash(file: Path, size: int, changed: int) -> str:
    """Return the hash of a file, read once as long as its size and time stay."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def shared(key: tuple[Any, ...], load: Callable[[], Network]) -> Network:
    """Return the network of a key, loaded if no metric has it now."""
    found: Network | None = _loaded.get(key)
    if found is None:
        found = _loaded[key] = load()
    return found
