"""Pipelines, loaded by name or given."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module

from headrouter.backbone import BackboneParameters
from headrouter.errors import IncompatibleError, InvalidInputError, WeightsError
from headrouter_diffusers.placement import place, resolve_device, resolve_dtype
from headrouter_diffusers.quiet import without_loading_bars
from headrouter_diffusers.weights import find_weights


def load_pipeline(
    wanted: type,
    source: str,
    parameters: BackboneParameters,
    *,
    backbone: str,
    others: Mapping[str, str],
    without: Collection[str] = (),
) -> Any:
    """A pipeline of class ``wanted`` from a hub id or folder, placed, in evaluation mode, its weights frozen.

    The autoencoder is always in float32: a picture passes through it twice, and it is small.

    Args:
        wanted: The pipeline class.
        source: Hub id or local folder.
        parameters: Device, precision and offloading.
        backbone: Name of the backbone that asks, for messages.
        others: Names of other pipeline classes, and the backbones that drive them.
        without: Components to leave out.

    Raises:
        InvalidInputError: device or offloading impossible here.
        WeightsError: weights missing, gated, damaged, or pickled.
        IncompatibleError: the weights belong to another kind of pipeline.
    """
    device = resolve_device(parameters)
    dtype = {"default": resolve_dtype(parameters, device), "vae": torch.float32}
    folder = find_weights(source, backbone, wanted.__name__, others, without)
    absent = dict.fromkeys([*without, *_left_out(folder)])
    loader: Any = wanted
    with without_loading_bars():
        try:
            pipeline = loader.from_pretrained(folder, dtype=dtype, use_safetensors=True, **absent)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WeightsError(f"`model` {source!r} could not be loaded from {folder}: {reason}") from error
    for component in pipeline.components.values():
        if isinstance(component, Module):
            component.eval().requires_grad_(False)
    place(pipeline, parameters, device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _left_out(folder: Any) -> list[str]:
    """Components that were saved as absent; some pipelines cannot tell that from damage."""
    index = json.loads((Path(folder) / "model_index.json").read_text(encoding="utf-8"))
    return [name for name, entry in index.items() if entry == [None, None]]


def given_pipeline(
    wanted: type,
    pipeline: object,
    parameters: BackboneParameters,
    *,
    backbone: str,
    loading: Collection[str] = ("device", "dtype", "offload"),
) -> Any:
    """An already loaded pipeline, as it is. ``loading`` names the parameters that say how to load.

    Raises:
        IncompatibleError: it is of another class than ``wanted``.
        InvalidInputError: a parameter says how to load, and nothing is loaded.
    """
    if not isinstance(pipeline, wanted):
        found = type(pipeline).__name__
        raise IncompatibleError(
            f"`pipeline` is a {found}, and backbone '{backbone}' drives {wanted.__name__}. A pipeline with the same"
            f" parts becomes one by `{wanted.__name__}.from_pipe(pipeline)`."
        )
    for name in loading:
        value = getattr(parameters, name)
        if value != type(parameters).model_fields[name].default:
            raise InvalidInputError(
                f"`{name}` {value!r} has no effect on a `pipeline` that is given already loaded. Leave it out;"
                " what it asks for is done on the pipeline, for instance by `to(...)` or `enable_model_cpu_offload()`."
            )
    return pipeline
