"""Save pipelines to folders in diffusers' ordinary format, and load them."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import AutoencoderKL, FluxKontextPipeline, FluxPipeline, StableDiffusion3Pipeline
from headrouter_diffusers import loading
from headrouter_diffusers.components.index import INDEX, read_json
from headrouter_diffusers.components.placement import resolve_device
from headrouter_flux.parameters import FluxParameters
from headrouter_flux_kontext.parameters import KontextParameters
from headrouter_sd3.parameters import SD3Parameters
from transformers import PreTrainedTokenizerBase

from headrouter.errors import WeightsError
from headrouter.models.checksums import refuse_changed, write_checksums
from headrouter_shapes.files import replacing
from headrouter_shapes.pipelines.build import ShapesPipeline

_PARAMETERS: dict[object, tuple[type, str, Any]] = {
    "FluxPipeline": (FluxPipeline, "flux", FluxParameters),
    "FluxKontextPipeline": (FluxKontextPipeline, "flux-kontext", KontextParameters),
    "StableDiffusion3Pipeline": (StableDiffusion3Pipeline, "sd3", SD3Parameters),
}


def save_pipeline(pipeline: ShapesPipeline, folder: Path) -> None:
    """Write a pipeline as bfloat16 safetensors with their checksums; ``folder`` is replaced only when everything is written.

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
        write_checksums(place)


def is_instructed(folder: Path) -> bool:
    """Return whether a folder says that it holds a pipeline that edits by instructions."""
    return (folder / INDEX).is_file() and read_json(folder / INDEX).get("_class_name") == FluxKontextPipeline.__name__


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> ShapesPipeline:
    """Load a FLUX or SD3 pipeline from a folder, on the CPU, checked and frozen as for an edit.

    Raises:
        WeightsError: a file is missing or damaged, weights do not fit the configuration, or it is another pipeline.
        IncompatibleError: a part is missing, or of another class.
    """
    if not (folder / INDEX).is_file():
        raise WeightsError(f"`folder` must be a diffusers pipeline with a {INDEX}; {folder} has none.")
    found = read_json(folder / INDEX).get("_class_name")
    if found not in _PARAMETERS:
        raise WeightsError(f"`folder` must hold a FLUX or SD3 pipeline; {folder} holds a {found}.")
    kind, name, parameters = _PARAMETERS[found]
    how = parameters(device="cpu", dtype=str(dtype).removeprefix("torch."))
    pipeline: ShapesPipeline = loading.load_pipeline(kind, str(folder), how, backbone=name)
    return pipeline


def load_measured(folder: Path, device: str) -> tuple[ShapesPipeline, dict[str, float]]:
    """Load a pipeline to a device, and measure the seconds that loading took and the megabytes of its folder."""
    place = resolve_device(FluxParameters(device=device))
    begin = time.perf_counter()
    pipeline = load_pipeline(folder)
    seconds = time.perf_counter() - begin
    megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    pipeline.to(place)
    return pipeline, {"load, s": round(seconds, 2), "megabytes": round(megabytes, 2)}


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load an autoencoder in float32 from its folder, or from the ``vae`` folder of a pipeline, checked and frozen.

    Raises:
        WeightsError: missing, damaged or incomplete, or its pipeline has changed.
    """
    place = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (place / "config.json").is_file():
        raise WeightsError(f"`folder` must hold an autoencoder with a config.json; {place} has none.")
    if (place.parent / INDEX).is_file():
        refuse_changed(str(place.parent), place.parent)
    autoencoder: AutoencoderKL = loading.load_model(AutoencoderKL, place, torch.float32)
    return autoencoder
