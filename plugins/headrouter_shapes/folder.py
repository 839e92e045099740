"""Pipelines to and from folders in diffusers' ordinary format."""

import copy
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FluxPipeline, StableDiffusion3Pipeline
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase

from headrouter.errors import WeightsError
from headrouter_shapes.build import ShapesPipeline
from headrouter_shapes.files import replacing

_WHAT_GOES_WRONG = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError)


def save_pipeline(pipeline: ShapesPipeline, folder: Path) -> None:
    """Write a pipeline as bfloat16 safetensors; ``folder`` is replaced only when everything is written.

    Copies are converted and written: the pipeline itself, which may be in training, is only read. The same weights make
    the same files: no configuration says where a part was loaded from, no tokenizer to what length it last padded.
    """
    parts = {name: copy.deepcopy(part) for name, part in pipeline.components.items()}
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            torch.nn.Module.to(part, torch.bfloat16)
        elif isinstance(part, PreTrainedTokenizerBase):
            part.backend_tokenizer.no_truncation()
            part.backend_tokenizer.no_padding()
    with replacing(folder) as place:
        type(pipeline)(**parts).save_pretrained(place, safe_serialization=True)
        for config in place.rglob("config.json"):
            settings = json.loads(config.read_text(encoding="utf-8"))
            settings.pop("_name_or_path", None)
            config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> ShapesPipeline:
    """Load a FLUX or SD3 pipeline from a folder.

    Raises:
        WeightsError: a file is missing or damaged, weights do not fit the configuration, or it is another pipeline.
    """
    if not (folder / "model_index.json").is_file():
        raise WeightsError(f"`folder` must be a diffusers pipeline with a model_index.json; {folder} has none.")
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, low_cpu_mem_usage=False
        )
    except _WHAT_GOES_WRONG as error:
        raise WeightsError(
            f"The pipeline in {folder} is damaged or incomplete: {error}. Install or train it again."
        ) from error
    if not isinstance(pipeline, FluxPipeline | StableDiffusion3Pipeline):
        raise WeightsError(f"`folder` must hold a FLUX or SD3 pipeline; {folder} holds a {type(pipeline).__name__}.")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load an autoencoder in float32 from its folder, or from the ``vae`` folder of a pipeline.

    Raises:
        WeightsError: missing or damaged.
    """
    place = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (place / "config.json").is_file():
        raise WeightsError(f"`folder` must hold an autoencoder with a config.json; {place} has none.")
    try:
        autoencoder: AutoencoderKL = AutoencoderKL.from_pretrained(place, dtype=torch.float32, local_files_only=True)
    except _WHAT_GOES_WRONG as error:
        raise WeightsError(f"The autoencoder in {place} is damaged or incomplete: {error}. Train it again.") from error
    return autoencoder
