"""Pipelines, loaded by name or given."""

import threading
from collections.abc import Collection
from typing import Any, Final

import torch
from torch.nn import Module

from headrouter.backbone import BackboneParameters
from headrouter.errors import IncompatibleError, InvalidInputError, WeightsError
from headrouter_diffusers.fitness import declared_parts, takes_more
from headrouter_diffusers.index import driver
from headrouter_diffusers.parts import load_part, reason_of
from headrouter_diffusers.placement import place, resolve_device, resolve_dtype
from headrouter_diffusers.quiet import while_loading
from headrouter_diffusers.weights import checked_folder

ONE_AT_A_TIME: Final = threading.RLock()
"""Held while a model is loaded: loaders replace functions of PyTorch for the whole process meanwhile."""


def load_pipeline(
    wanted: type,
    source: str,
    parameters: BackboneParameters,
    *,
    backbone: str,
    optional: Collection[str] = (),
    without: Collection[str] = (),
) -> Any:
    """A pipeline of class ``wanted`` from a hub id or folder, placed, in evaluation mode, its weights frozen.

    The autoencoder is always in float32: a picture passes through it twice, and it is small. One thread at a time.

    Args:
        wanted: The pipeline class.
        source: Hub id or local folder.
        parameters: Device, precision and offloading.
        backbone: Name of the backbone that asks, for messages.
        optional: Parts that it can do without, beside those that the pipeline class calls optional.
        without: Parts to leave out.

    Raises:
        InvalidInputError: device or offloading impossible here.
        WeightsError: weights missing, gated, damaged, incomplete, or pickled.
        IncompatibleError: the weights belong to another kind of pipeline.
    """
    device = resolve_device(parameters)
    dtype = resolve_dtype(parameters, device)
    loader: Any = wanted
    with ONE_AT_A_TIME, while_loading():
        folder, classes = checked_folder(source, backbone, wanted, optional, without)
        parts = {
            name: kind and load_part(source, folder / name, kind, torch.float32 if name == "vae" else dtype)
            for name, kind in classes.items()
        }
        try:
            pipeline = loader.from_pretrained(folder, **parts)
        except Exception as error:  # a configuration holds anything, and so do the errors that follow from it
            raise WeightsError(f"`model` {source!r} could not be loaded from {folder}: {reason_of(error)}.") from error
        for component in pipeline.components.values():
            if isinstance(component, Module):
                component.eval().requires_grad_(False)
        place(pipeline, parameters, device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


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
        raise IncompatibleError(
            f"`pipeline` is a {type(pipeline).__name__}, and backbone '{backbone}' drives {wanted.__name__}."
            f" {_way_out(wanted, pipeline, backbone)}"
        )
    for name in loading:
        value = getattr(parameters, name)
        if value != type(parameters).model_fields[name].default:
            raise InvalidInputError(
                f"`{name}` {value!r} has no effect on a `pipeline` that is given already loaded. Leave it out;"
                " what it asks for is done on the pipeline, for instance by `to(...)` or `enable_model_cpu_offload()`."
            )
    return pipeline


def _way_out(wanted: type, pipeline: Any, backbone: str) -> str:
    """A sentence on what to do with a pipeline of another class, of any kind of object."""
    parts = getattr(pipeline, "components", {})
    transformer = parts.get("transformer")
    declared = declared_parts(wanted)
    if isinstance(transformer, declared["transformer"]):
        if takes_more(transformer):
            return "Its transformer takes more than latents; use the text-to-image weights of the same family."
        if declared.keys() - getattr(wanted, "_optional_components", ()) <= parts.keys():
            return f"It becomes one by `{wanted.__name__}.from_pipe(pipeline)`."
    return driver({"_class_name": type(pipeline).__name__}, "", backbone) or f"Give a {wanted.__name__}."
