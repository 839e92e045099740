"""Checks of weights before they are loaded: there, complete, of the right model, and never pickled."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open

from headrouter.errors import IncompatibleError, WeightsError
from headrouter.files import path_of

_INDEX = "model_index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def find_weights(source: str, backbone: str, wanted: str, others: Mapping[str, str], without: Collection[str]) -> Path:
    """The folder that holds the pipeline ``source``, fetched from the hub if it is not a folder.

    Args:
        source: Hub id or local folder.
        backbone: Name of the backbone that asks, for messages.
        wanted: Name of the pipeline class it drives.
        others: Names of other pipeline classes, and the backbones that drive them.
        without: Components that are not to be loaded.

    Raises:
        WeightsError: weights missing, gated, damaged, or pickled.
        IncompatibleError: the weights belong to another kind of pipeline.
    """
    folder = path_of(source, "model")
    with suppress(RuntimeError):  # a home that nobody has
        folder = folder.expanduser()
    if folder.is_file():
        raise WeightsError(f"`model` {source!r} is a file; give the folder of a diffusers pipeline, or a hub id.")
    local = folder.is_dir()
    if not local and (source.startswith((".", "/", "~")) or source.count("/") != 1):
        raise WeightsError(f"`model` {source!r} is neither a folder here nor a hub id such as 'owner/name'.")
    index_file = folder / _INDEX if local else _from_hub(source)
    if not index_file.is_file():
        raise WeightsError(
            f"`model` {source!r} has no {_INDEX}: it is not the folder of a diffusers pipeline. A checkpoint of another"
            f" format becomes one by diffusers' `{wanted}.from_single_file(...)` and `save_pretrained(...)`."
        )
    index = _read(index_file)
    _check_class(source, str(index.get("_class_name")), backbone, wanted, others)
    if not local:
        folder = _download(source, without)
    for name, entry in index.items():
        if isinstance(entry, list) and entry[0] is not None and name not in without:
            _check_component(source, folder / name)
    return folder


def _read(index_file: Path) -> dict[str, Any]:
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{index_file} is damaged: {error}. Fetch it again.") from error
    if not isinstance(index, dict):
        raise WeightsError(f"{index_file} does not describe a pipeline. Fetch it again.")
    return index


def _check_class(source: str, found: str, backbone: str, wanted: str, others: Mapping[str, str]) -> None:
    if found != wanted:
        advice = f"Use backbone {others[found]}." if found in others else f"Backbone '{backbone}' drives {wanted}."
        raise IncompatibleError(f"`model` {source!r} is a {found}, which backbone '{backbone}' cannot drive. {advice}")


def _check_component(source: str, folder: Path) -> None:
    """Check that a component is there, and its weights are whole safetensors files."""
    if not folder.is_dir():
        raise WeightsError(
            f"`model` {source!r} lacks its {folder.name!r}: there is no folder {folder}. Fetch it again."
        )
    files = sorted(folder.iterdir())
    weights = [file for file in files if file.suffix == ".safetensors"]
    pickled = [file.name for file in files if file.suffix in _PICKLED]
    if pickled and not weights:
        raise WeightsError(
            f"`model` {source!r} has pickled weights only, {folder.name}/{pickled[0]}. Unpickling can run any code, so"
            " they are refused; use a version in safetensors, or convert it with `save_pretrained(...,"
            " safe_serialization=True)`."
        )
    for file in weights:
        _check_whole(file)


def _check_whole(file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is damaged or incomplete ({error}). Delete it and fetch it again.") from error


def _from_hub(source: str) -> Path:
    try:
        return Path(hf_hub_download(source, _INDEX))
    except Exception as error:
        raise _unreachable(source, error) from error


def _download(source: str, without: Collection[str]) -> Path:
    try:
        return Path(DiffusionPipeline.download(source, use_safetensors=True, **dict.fromkeys(without)))
    except Exception as error:
        raise _unreachable(source, error) from error


def _unreachable(source: str, error: Exception) -> WeightsError:
    if isinstance(error, GatedRepoError):
        how = "is gated. Accept its licence on its model page, then run `hf auth login`."
    elif isinstance(error, RepositoryNotFoundError):
        how = "was not found on the hub. Check the name; if it is private, run `hf auth login`."
    elif isinstance(error, RemoteEntryNotFoundError):
        how = f"has no {_INDEX} on the hub: it is not a diffusers pipeline."
    elif "necessary `safetensors` weights" in str(error):
        how = "has no weights in safetensors, and pickled weights are refused because unpickling can run any code."
    else:
        how = (
            "is not on this machine and could not be fetched. Connect and accept its licence on its model page if it"
            " has one, run `hf auth login`, or give the path of a local folder."
        )
    return WeightsError(f"`model` {source!r} {how} ({type(error).__name__})")
