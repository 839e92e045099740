"""The folder that holds a pipeline, here or fetched from the hub, checked before anything of it is loaded."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError

from headrouter.errors import WeightsError
from headrouter.files import path_of
from headrouter_diffusers.index import INDEX, check_kind, part_classes, read_json
from headrouter_diffusers.parts import check_files


def checked_folder(
    source: str, backbone: str, wanted: type, optional: Collection[str], without: Collection[str]
) -> tuple[Path, dict[str, type | None]]:
    """The folder that holds the pipeline ``source``, fetched if it is a hub id, and the class of each of its parts.

    Args:
        source: Hub id or local folder.
        backbone: Name of the backbone that asks, for messages.
        wanted: The pipeline class that it drives.
        optional: Parts that it can do without.
        without: Parts that are not to be loaded.

    Raises:
        WeightsError: weights missing, gated, damaged, pickled, or with code of their own.
        IncompatibleError: they belong to another kind of pipeline.
    """
    folder = path_of(source, "model")
    with suppress(RuntimeError):  # a home that nobody has
        folder = folder.expanduser()
    if folder.is_file():
        raise WeightsError(f"`model` {source!r} is a file; give the folder of a diffusers pipeline, or a hub id.")
    local = folder.is_dir()
    if not local and (source.startswith((".", "/", "~")) or source.count("/") != 1):
        raise WeightsError(f"`model` {source!r} is neither a folder here nor a hub id such as 'owner/name'.")
    index_file = folder / INDEX if local else _from_hub(source)
    if not index_file.is_file():
        raise WeightsError(
            f"`model` {source!r} has no {INDEX}: it is not the folder of a diffusers pipeline. A checkpoint of another"
            f" format becomes one by diffusers' `{wanted.__name__}.from_single_file(...)` and `save_pretrained(...)`."
        )
    index = read_json(index_file)
    check_kind(source, index, backbone, wanted)
    classes = part_classes(source, index, wanted, optional, without)
    if not local:
        folder = _download(source, [name for name, kind in classes.items() if kind is None])
    for name, kind in classes.items():
        if kind is not None:
            check_files(source, folder / name, kind)
    return folder, classes


def _from_hub(source: str) -> Path:
    try:
        return Path(hf_hub_download(source, INDEX))
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
        how = f"has no {INDEX} on the hub: it is not a diffusers pipeline."
    elif "necessary `safetensors` weights" in str(error):
        how = "has no weights in safetensors, and pickled weights are refused because unpickling can run any code."
    else:
        how = (
            "is not on this machine and could not be fetched. Connect and accept its licence on its model page if it"
            " has one, run `hf auth login`, or give the path of a local folder."
        )
    return WeightsError(f"`model` {source!r} {how} ({type(error).__name__})")
