"""Load one part of a pipeline from its folder, whole and of the size of its weights, or refuse it."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import ModelMixin
from safetensors import SafetensorError, safe_open
from torch.nn import Module
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from headrouter.errors import WeightsError, reason_of
from headrouter.files import unreadable
from headrouter_diffusers.components.index import check_types, read_json
from headrouter_diffusers.components.variants import files_of

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SLACK = 2**24
"""Values that a model may have beside those in its files: tables that it computes by itself."""
_PACKED = 8
"""Most values that one stored value stands for, in weights that are quantised."""
_MOST = 10**6
"""Largest number in the configuration of a scheduler."""


def refuse_unreadable(folder: Path) -> None:
    """Check that the system lets the files of a part be read, if it is there.

    Raises:
        WeightsError: naming the first that it does not.
    """
    try:
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.is_file():
                file.open("rb").close()
    except OSError as error:
        raise WeightsError(unreadable(Path(error.filename or folder), error)) from error


def check_files(source: str, folder: Path, kind: type, variant: str | None = None) -> None:
    """Check, without loading it, that a part is there, whole, in safetensors, and not larger than its weights.

    Args:
        source: Hub id or folder of the pipeline, for messages.
        folder: The part's own folder.
        kind: Its class.
        variant: Variant of its weights, if there are several.

    Raises:
        WeightsError: it is not.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"`model` {source!r} lacks its {folder.name!r}: there is no folder {folder}. Fetch it again."
        )
    for file in folder.iterdir():
        if not file.is_file() and not file.is_dir():
            raise WeightsError(
                f"`model` {source!r}: {folder.name}/{file.name} is no file, or leads to none. Fetch it again."
            )
    if (folder / "adapter_config.json").exists():
        raise WeightsError(
            f"`model` {source!r} has an adapter_config.json in its {folder.name!r}, which names weights elsewhere. Use a"
            " version with the adapter merged into its weights."
        )
    if issubclass(kind, Module):
        _check_model(source, folder, kind, variant)
    elif issubclass(kind, PreTrainedTokenizerBase | ProcessorMixin):
        _check_tokenizer(source, folder, kind)
    else:
        configuration = read_json(_there(source, folder, "scheduler_config.json"))
        if "_class_name" not in configuration:
            raise WeightsError(
                f"{folder / 'scheduler_config.json'} names no `_class_name`: it is damaged. Fetch it again."
            )
        check_types(source, folder.name, kind, configuration)
        for name, value in configuration.items():
            if isinstance(value, int | float) and abs(value) > _MOST:
                raise WeightsError(
                    f"`model` {source!r} has {value} as `{name}` of its {folder.name!r}; {_MOST} is most."
                )


def load_part(
    source: str, folder: Path, kind: Any, dtype: torch.dtype, variant: str | None = None, quantisation: Any = None
) -> Any:
    """Load a part that :func:`check_files` found whole; ``quantisation`` says how to quantise it meanwhile.

    Raises:
        WeightsError: its configuration makes no such part, or its weights lack tensors or have others.
    """
    information: Mapping[str, Any] = {}
    try:
        if issubclass(kind, Module):
            name = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
            options = {name: dtype, "use_safetensors": True, "local_files_only": True, "output_loading_info": True}
            options["variant"], _ = files_of([file.name for file in folder.iterdir()], variant)
            if quantisation is not None:
                options["quantization_config"] = quantisation
            part, information = kind.from_pretrained(folder, **options)
        else:
            part = kind.from_pretrained(folder, local_files_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a configuration holds anything, and so do the errors that follow from it
        raise WeightsError(
            f"`model` {source!r} could not be loaded from {folder}: {reason_of(error)}. Fetch it again."
        ) from error
    if isinstance(part, Module):
        _check_complete(source, folder.name, part, information)
    return part


def _check_complete(source: str, name: str, model: Module, information: Mapping[str, Any]) -> None:
    held = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    lost = {*information.get("missing_keys", ()), *(key for key, tensor in held.items() if tensor.is_meta)}
    strange = {*information.get("unexpected_keys", ())} - held.keys()
    for keys, verb, why in (
        (lost, "lacks", "they are incomplete"),
        (strange, "has no place for", "they are another's"),
    ):
        if keys:
            raise WeightsError(
                f"`model` {source!r}: its {name!r} {verb} {len(keys)} tensors of its weights, such as {min(keys)!r};"
                f" {why}. Fetch it again."
            )


def _check_model(source: str, folder: Path, kind: Any, variant: str | None) -> None:
    configuration = read_json(_there(source, folder, "config.json"))
    kernels = (value for key, value in configuration.items() if key.endswith("attn_implementation"))
    if "auto_map" in configuration or any("/" in str(kernel) for kernel in kernels):
        raise WeightsError(
            f"`model` {source!r} asks for code from elsewhere in {folder.name}/config.json (`auto_map` or"
            " `attn_implementation`), which is not run. Use a version without."
        )
    if issubclass(kind, ModelMixin):
        check_types(source, folder.name, kind, configuration)
    content = [entry for file in _weight_files(source, folder, variant) for entry in _content(file)]
    shapes = {name: shape for name, shape, _ in content}
    whole = {name: kind for name, _, kind in content if not kind.startswith(("F", "BF"))}
    for key, value in configuration.items():
        if isinstance(value, int) and ("layers" in key or "blocks" in key) and value > len(shapes):
            raise WeightsError(
                f"`model` {source!r} asks for {value} `{key}` of its {folder.name!r}, and its weights have"
                f" {len(shapes)} tensors. Fetch it again."
            )
    model = _model_of(source, folder, kind, configuration)
    held = sum(math.prod(shape) for shape in shapes.values())
    needed = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    if needed > _PACKED * held + _SLACK:
        raise WeightsError(
            f"`model` {source!r} asks for {needed} values of its {folder.name!r}, and its weights have {held}. Fetch it"
            " again."
        )
    if "quantization_config" not in configuration:
        for name, tensor in model.state_dict().items():
            if name in shapes and shapes[name] != list(tensor.shape):
                raise WeightsError(
                    f"`model` {source!r} has weights of another shape than its configuration makes: {name!r} of its"
                    f" {folder.name!r} is {shapes[name]} and should be {list(tensor.shape)}. Fetch it again."
                )
            if tensor.is_floating_point() and name in whole:
                raise WeightsError(
                    f"`model` {source!r} has whole numbers ({whole[name]}) as the weights {name!r} of its"
                    f" {folder.name!r}, and its configuration names no quantisation. Fetch it again."
                )


def _model_of(source: str, folder: Path, kind: Any, configuration: Mapping[str, Any]) -> Module:
    """Build the model of a configuration without allocating it; an empty one where that is impossible."""
    try:
        with torch.device("meta"):
            if issubclass(kind, ModelMixin):
                model: Module = kind.from_config(dict(configuration))
            else:
                model = kind(kind.config_class.from_dict(dict(configuration)))
    except Exception as error:
        if "meta" in str(error):  # its code looks into its own tensors while it is made: only loading shows the fit
            return Module()
        raise WeightsError(
            f"`model` {source!r} could not be loaded: {folder / 'config.json'} makes no {kind.__name__}:"
            f" {reason_of(error)}. Fetch it again."
        ) from error
    return model


def _weight_files(source: str, folder: Path, variant: str | None) -> list[Path]:
    """Return the safetensors files of a model, those of an index or the only one, each found to be whole."""
    files = sorted(folder.iterdir())
    weights = [file for file in files if file.suffix == ".safetensors"]
    pickled = [file.name for file in files if file.suffix in _PICKLED]
    if pickled and not weights:
        raise WeightsError(
            f"`model` {source!r} has pickled weights only, {folder.name}/{pickled[0]}. Unpickling can run any code, so"
            " they are refused; use a version in safetensors, or convert it with `save_pretrained(...,"
            " safe_serialization=True)`."
        )
    variant, chosen = files_of([file.name for file in weights], variant)
    if not chosen:
        raise WeightsError(
            f"`model` {source!r} could not be loaded: its {folder.name!r} has no weights. Fetch it again."
        )
    for index in folder.glob("*.safetensors.index.json" if variant is None else f"*.safetensors.index.{variant}.json"):
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
            raise WeightsError(f"{index} is damaged: it has no `weight_map` of file names. Fetch it again.")
        for place in sorted(set(places.values())):
            if folder / place not in weights:
                raise WeightsError(
                    f"`model` {source!r} lacks the file {place!r} of its {folder.name!r}, which {index.name} promises in"
                    " the same folder. Fetch it again."
                )
    return [folder / file for file in chosen]


def _content(file: Path) -> Iterator[tuple[str, list[int], str]]:
    """Name, shape and type of each tensor in a file, of which only the table is read."""
    try:
        with safe_open(file, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118
                tensor = content.get_slice(name)
                yield name, tensor.get_shape(), tensor.get_dtype()
    except OSError as error:
        raise WeightsError(unreadable(file, error)) from error
    except SafetensorError as error:
        raise WeightsError(f"{file} is damaged or incomplete ({error}). Delete it and fetch it again.") from error


def _check_tokenizer(source: str, folder: Path, kind: Any) -> None:
    """Check that the vocabulary is there: without it the tokenizer would load empty."""
    files_names = getattr(kind, "vocab_files_names", {})  # a processor leaves its tokenizer's to that
    names = {key: value for key, value in files_names.items() if key != "tokenizer_file"}
    whole = (folder / "tokenizer.json").is_file()
    if not whole and not (names and all((folder / file).is_file() for file in names.values())):
        files = " and ".join(names.values())
        raise WeightsError(
            f"`model` {source!r} lacks the vocabulary of its {folder.name!r}: there is no tokenizer.json"
            f"{f', nor {files},' if files else ''} in {folder}. Fetch it again."
        )
    if (folder / "tokenizer_config.json").exists():
        read_json(folder / "tokenizer_config.json")


def _there(source: str, folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise WeightsError(f"`model` {source!r} lacks {folder.name}/{name}. Fetch it again.")
    return folder / name
