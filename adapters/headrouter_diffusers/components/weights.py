"""Find the folder of a pipeline, here or fetched from the hub, and check it before loading."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PureWindowsPath

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download, list_repo_files
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError
from torch.nn import Module

from headrouter.errors import WeightsError
from headrouter.files import path_of
from headrouter.models.checksums import refuse_changed
from headrouter_diffusers.components.index import INDEX, check_kind, part_classes, read_json
from headrouter_diffusers.components.parts import check_files, refuse_unreadable
from headrouter_diffusers.components.variants import check_variant


def checked_folder(
    source: str,
    backbone: str,
    wanted: type,
    optional: Collection[str],
    without: Collection[str],
    variant: str | None = None,
) -> tuple[Path, dict[str, type | None]]:
    """Return the folder of the pipeline ``source``, fetched if it is a hub id, and its parts' classes.

    Args:
        source: Hub id or local folder.
        backbone: Name of the backbone that asks, for messages.
        wanted: The pipeline class that it drives.
        optional: Parts that it can do without.
        without: Parts that are not to be loaded.
        variant: Variant of the weights, where a folder or repository holds several; None for plain ones.

    Raises:
        WeightsError: weights missing, gated, damaged, changed, pickled, or with code of their own.
        IncompatibleError: they belong to another kind of pipeline.
    """
    folder = path_of(source, "model")
    with suppress(RuntimeError):  # the home of an unknown user
        folder = folder.expanduser()
    if folder.is_file():
        raise WeightsError(f"`model` {source!r} is a file, and the folder of a pipeline or a hub id is needed.")
    local = folder.is_dir()
    if not local and (source.startswith((".", "/", "~")) or source.count("/") != 1 or PureWindowsPath(source).drive):
        raise WeightsError(
            f"`model` {source!r} is neither a folder here nor a hub id such as 'owner/name', nor a single file."
        )
    index_file = folder / INDEX if local else _from_hub(source)
    if not index_file.is_file():
        raise WeightsError(
            f"`model` {source!r} has no {INDEX}: it is not the folder of a diffusers pipeline. A checkpoint of another"
            f" format becomes one by diffusers' `{wanted.__name__}.from_single_file(...)` and `save_pretrained(...)`."
        )
    if local:
        refuse_changed(source, folder)
    index = read_json(index_file)
    check_kind(source, index, backbone, wanted)
    classes = part_classes(source, index, wanted, optional, without)
    if not local:
        folder = _download(source, [name for name, kind in classes.items() if kind is None], variant)
    for name in classes:
        refuse_unreadable(folder / name)
    models = [name for name, kind in classes.items() if kind and issubclass(kind, Module) and (folder / name).is_dir()]
    check_variant(source, {name: [file.name for file in (folder / name).iterdir()] for name in models}, variant)
    for name, kind in classes.items():
        if kind is not None:
            check_files(source, folder / name, kind, variant)
    return folder, classes


def _from_hub(source: str) -> Path:
    try:
        return Path(hf_hub_download(source, INDEX))
    except Exception as error:
        raise _unreachable(source, error) from error


def _download(source: str, without: Collection[str], variant: str | None) -> Path:
    options = dict.fromkeys(without) if variant is None else {**dict.fromkeys(without), "variant": variant}
    try:
        return Path(DiffusionPipeline.download(source, use_safetensors=True, **options))
    except Exception as error:
        if "necessary `safetensors` weights" in str(error):
            check_variant(source, _listed(source, without), variant)
        raise _unreachable(source, error) from error


def _listed(source: str, without: Collection[str]) -> dict[str, list[str]]:
    """Return the files of each part of a repository on the hub; none if it cannot be asked."""
    found: dict[str, list[str]] = {}
    with suppress(Exception):
        for path in list_repo_files(source):
            part, slash, file = path.partition("/")
            if slash and "/" not in file and part not in without:
                found.setdefault(part, []).append(file)
    return found


def _unreachable(source: str, error: Exception) -> WeightsError:
    if isinstance(error, GatedRepoError):
        how = "is gated. Accept its licence on its model page, then run `hf auth login`."
    elif isinstance(error, RepositoryNotFoundError):
        how = "was not found on the hub. Check the name; if it is private, run `hf auth login`."
    elif isinstance(error, RemoteEntryNotFoundError):
        how = f"has no {INDEX} on the hub: it is not a diffusers pipeline."
    elif "necessary `safetensors` weights" in str(error):
        how = (
            "has no plain weights in safetensors. If it has a variant, such as fp16, ask for that by `variant`; pickled"
            " weights are refused because unpickling can run any code."
        )
    else:
        how = (
            "is not on this machine and could not be fetched. Connect and accept its licence on its model page if it"
            " has one, run `hf auth login`, or give the path of a local folder."
        )
    return WeightsError(f"`model` {source!r} {how} ({type(error).__name__})")
