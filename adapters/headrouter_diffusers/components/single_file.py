"""Load pipelines from one file, .safetensors or .gguf, with configuration and missing components from a base.

The file holds a transformer, as diffusers or its makers lay it out, and perhaps an autoencoder and text encoders beside it;
diffusers' own ``from_single_file`` converts it.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from huggingface_hub import hf_hub_download
from torch import Tensor
from torch.nn import Module

from headrouter.errors import IncompatibleError, InvalidInputError, WeightsError, reason_of
from headrouter.files import path_of
from headrouter_diffusers import compat

_SUFFIXES = (".safetensors", ".gguf")
_TEXT = {"text_encoders.clip_l.": "CLIP", "text_encoders.clip_g.": "CLIP", "text_encoders.t5xxl.": "T5"}
_PICTURES = ("first_stage_model.", "vae.")
_FOREIGN = re.compile(
    r"scaled_fp8|.*\.(scale_weight|scale_input|weight_scale|weight_scale_2|input_scale|comfy_quant|absmax|quant_map"
    r"|qweight|wscales)|.*\.quant_state\..*"
)
_BLOCK = re.compile(r"(?:model\.diffusion_model\.)?(\w*(?:blocks|layers))\.(\d+)\.")

Checkpoint = dict[str, Tensor]


def single_file(source: str) -> Path | None:
    """Return the file that ``source`` is the path of, or None if it is a folder or a hub id.

    Raises:
        WeightsError: a file of another kind.
    """
    file = path_of(source, "model")
    with suppress(RuntimeError):  # the home of an unknown user
        file = file.expanduser()
    if not file.is_file():
        return None
    if file.suffix.lower() not in _SUFFIXES:
        pickled = file.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin")
        why = "Unpickling can run any code, so it is refused" if pickled else "It is no file of weights"
        raise WeightsError(
            f"`model` {source!r} is a file, which must end in {' or '.join(_SUFFIXES)}. {why}; give such a file, the"
            " folder of a diffusers pipeline, or a hub id."
        )
    return file


def refuse_unreadable(source: str, transformer: type) -> None:
    """Check that diffusers reads single files of a class of transformers.

    Raises:
        IncompatibleError: it does not.
    """
    if transformer.__name__ not in SINGLE_FILE_LOADABLE_CLASSES:
        raise IncompatibleError(
            f"`model` {source!r} is one file, and diffusers reads no single file of a {transformer.__name__}. Give the folder or"
            " hub id of a whole pipeline."
        )


def read_checkpoint(source: str, file: Path) -> Checkpoint:
    """Read the tensors of a file, mapped into memory where its format allows.

    Raises:
        WeightsError: damaged, a LoRA, or quantised in a format that diffusers does not read.
    """
    if file.suffix.lower() == ".gguf" and find_spec("gguf") is None:
        raise WeightsError(f"`model` {source!r} needs the package gguf to be read. Run `pip install gguf`.")
    try:
        checkpoint: Checkpoint = compat.read_single_file(str(file))
    except Exception as error:  # many kinds, from three libraries
        raise WeightsError(
            f"`model` {source!r} is damaged or incomplete ({reason_of(error)}). Fetch it again."
        ) from error
    if any("lora" in name.lower() for name in checkpoint):
        raise WeightsError(
            f"`model` {source!r} holds a LoRA, which is not a model. Load it onto a pipeline by `load_lora_weights(...)`,"
            " and give that as `pipeline`."
        )
    foreign = next((name for name in checkpoint if _FOREIGN.fullmatch(name)), None)
    if foreign is not None:
        raise WeightsError(
            f"`model` {source!r} is quantised in a format that diffusers does not read ({foreign!r}). Take a GGUF file or"
            " plain weights, and quantise those by `quantize`."
        )
    return checkpoint


def base_of(source: str, checkpoint: Mapping[str, Tensor], base: str | None, released: Sequence[str]) -> str:
    """Return the pipeline that completes a file: the one that the user names, or the released model it resembles.

    Args:
        source: The file, for messages.
        checkpoint: Its tensors.
        base: The pipeline that the user names.
        released: Hub ids of released models that the backbone drives, the one to assume first.

    Raises:
        InvalidInputError: no base is named and no released one is known.
        IncompatibleError: it looks like a model that the backbone does not drive.
    """
    if base is not None:
        return base
    if not released:
        raise InvalidInputError(f"`model` {source!r} is one file. Name the pipeline that it belongs to by `base`.")
    looks_like = compat.released_model_of(checkpoint) or released[0]
    if looks_like not in released:
        raise IncompatibleError(
            f"`model` {source!r} looks like {looks_like}, and this backbone drives {', '.join(released)}. Use the backbone"
            " of that model; or if it belongs to another pipeline, name that by `base`."
        )
    return looks_like


@contextmanager
def blaming_base(source: str, base: str) -> Iterator[None]:
    """Name the base in errors that its files cause."""
    try:
        yield
    except (WeightsError, IncompatibleError) as error:
        raise type(error)(
            f"`model` {source!r} is one file, and what it lacks comes from `base` {base!r}:"
            f" {str(error).replace('`model`', '`base`')}"
        ) from error


def parts_in(checkpoint: Collection[str], pipeline: type) -> tuple[str, ...]:
    """Return the components that a file holds, by their names in the pipeline's class; always a transformer."""
    kinds = {name: str(of.annotation) for name, of in signature(pipeline).parameters.items() if "encoder" in name}
    encoders = {kind: [name for name, of in kinds.items() if kind in of] for kind in ("CLIP", "T5")}
    found = ["transformer"]
    for prefix, kind in _TEXT.items():
        name = encoders[kind].pop(0) if encoders[kind] else None
        if name is not None and any(key.startswith(prefix) for key in checkpoint):
            found.append(name)
    if any(key.startswith(_PICTURES) for key in checkpoint):
        found.append("vae")
    return tuple(found)


def fetch_configurations(base: str, folder: Path, parts: Collection[str]) -> None:
    """Fetch the configurations of components whose weights stay on the hub.

    Raises:
        WeightsError: not there.
    """
    for name in parts:
        if not (folder / name / "config.json").is_file():
            if Path(base).expanduser().is_dir():
                raise WeightsError(f"`model` {base!r} has no {name}/config.json. Fetch it again.")
            try:
                hf_hub_download(base, f"{name}/config.json")
            except Exception as error:
                raise WeightsError(
                    f"`model` {base!r}: {name}/config.json is not on this machine and could not be fetched"
                    f" ({type(error).__name__}). Connect, or give a local folder."
                ) from error


def load_parts(
    source: str,
    file: Path,
    checkpoint: Checkpoint,
    folder: Path,
    kinds: Mapping[str, Any],
    dtype: torch.dtype,
    quantisation: Any,
    pipeline: Any,
    rest: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the parts of a pipeline that a file holds.

    Args:
        source, file, checkpoint: The file, as the user named it and as it was read.
        folder: Configurations of its parts.
        kinds: Their classes, the transformer's among them.
        dtype: Precision of all but the autoencoder.
        quantisation: Configuration by which the transformer is quantised, if at all.
        pipeline, rest: The pipeline class, and the parts that it has from elsewhere.

    Raises:
        WeightsError: it holds no whole transformer of this kind.
        InvalidInputError: quantised weights are to be quantised again.
    """
    gguf = file.suffix.lower() == ".gguf"
    if gguf and quantisation is not None:
        raise InvalidInputError(
            f"`quantize` cannot quantise the transformer of {source!r}, which is quantised already. Name other"
            " components, such as {'text_encoder_2': 'int8-torchao'}, or leave it out."
        )
    packed = {"quantization_config": diffusers.GGUFQuantizationConfig(compute_dtype=dtype)} if gguf else {}
    where = {"config": str(folder), "local_files_only": True}
    parts: dict[str, Any] = {}
    try:
        transformer = kinds["transformer"].from_single_file(
            dict(checkpoint), subfolder="transformer", dtype=dtype, **where, **packed
        )
        _check_complete(checkpoint, transformer)
        parts["transformer"] = transformer if quantisation is None else _quantised(transformer, quantisation)
        if "vae" in kinds:
            parts["vae"] = kinds["vae"].from_single_file(
                dict(checkpoint), subfolder="vae", dtype=torch.float32, **where
            )
        if kinds.keys() - parts.keys():  # text encoders, which only a whole pipeline takes from a file
            others = {name: part for name, part in rest.items() if name not in kinds}
            whole = pipeline.from_single_file(str(file), dtype=dtype, **where, **others, **parts)
            parts |= {name: whole.components[name] for name in kinds}
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # conversion fails by any kind of error
        raise WeightsError(
            f"`model` {source!r} could not be loaded with the configuration of {folder}: it holds no whole"
            f" {kinds['transformer'].__name__} of that shape ({reason_of(error)}). Name the pipeline that it belongs to by"
            " `base`."
        ) from error
    return parts


def _quantised(transformer: Any, configuration: Any) -> Any:
    """Return the same model, quantised on its way through a folder: diffusers takes a single file to be quantised already."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        transformer.save_pretrained(folder)
        return type(transformer).from_pretrained(
            folder, dtype=transformer.dtype, use_safetensors=True, quantization_config=configuration
        )


def _check_complete(checkpoint: Collection[str], transformer: Module) -> None:
    """Check that each tensor has a value and that no block of the file is left over."""
    meta = next((name for name, value in transformer.state_dict().items() if value.is_meta), None)
    if meta is not None:
        raise ValueError(f"{meta} is missing")
    found, expected = _depths(checkpoint), _depths(transformer.state_dict())
    if found != expected:
        raise ValueError(f"{found} blocks instead of {expected}")


def _depths(names: Collection[str]) -> list[int]:
    """Return the number of blocks of each of a transformer's lists of them, in ascending order."""
    lists: dict[str, set[str]] = {}
    for name in names:
        if match := _BLOCK.match(name):
            lists.setdefault(match[1], set()).add(match[2])
    return sorted(map(len, lists.values()))
