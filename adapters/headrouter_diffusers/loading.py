"""Load pipelines by name, or check given ones."""

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from headrouter_diffusers.quiet import while_loading
from torch.nn import Module

from headrouter.errors import IncompatibleError, InvalidInputError, WeightsError, reason_of
from headrouter.models.memory import enough_memory
from headrouter.models.surroundings import undisturbed
from headrouter_diffusers import compat
from headrouter_diffusers.components import single_file
from headrouter_diffusers.components.fitness import declared_parts, edits_by_itself, takes_more
from headrouter_diffusers.components.index import INDEX, driver, part_classes, read_json
from headrouter_diffusers.components.parts import check_files, load_part, refuse_unreadable
from headrouter_diffusers.components.placement import place, resolve_device, resolve_dtype
from headrouter_diffusers.components.quantisation import configurations, formats_of, loading_on
from headrouter_diffusers.components.weights import checked_folder
from headrouter_diffusers.parameters import DiffusersParameters

ONE_AT_A_TIME: Final = threading.RLock()
"""Held while a model is loaded: loaders replace functions of PyTorch for the whole process meanwhile.

A fork waits for it too, or else the child would keep a lock that no thread of its own releases, and functions that none puts back.
"""

LOADING: Final = tuple(DiffusersParameters.model_fields)
"""Names of the parameters that say how a pipeline is loaded."""


def load_pipeline(
    wanted: type,
    source: str,
    parameters: DiffusersParameters,
    *,
    backbone: str,
    optional: Collection[str] = (),
    without: Collection[str] = (),
    large: Collection[str] = ("transformer",),
    released: Sequence[str] = (),
) -> Any:
    """Return a pipeline of class ``wanted`` from a hub id, folder or single file, placed, with frozen weights.

    The autoencoder is always in float32: a picture passes through it twice, and it is small. One thread at a time.

    Args:
        wanted: The pipeline class.
        source: Hub id, local folder or single file.
        parameters: Device, precision, offloading, variant, base and quantisation.
        backbone: Name of the backbone that asks, for messages.
        optional: Parts that it can do without, beside those that the pipeline class calls optional.
        without: Parts to leave out.
        large: Parts that are quantised when ``quantize`` names a format alone.
        released: Hub ids of released pipelines, one of which completes a single file; the one to assume first.

    Raises:
        InvalidInputError: device, offloading or quantisation impossible here.
        WeightsError: weights missing, gated, damaged, incomplete, or pickled.
        IncompatibleError: the weights belong to another kind of pipeline.
        OutOfMemoryError: the device has too little memory for them.
    """
    device = resolve_device(parameters)
    dtype = resolve_dtype(parameters, device)
    formats = formats_of(parameters, large, device)
    order = _Order(wanted, parameters, formats, dtype, backbone, optional, without, released)
    file = single_file.single_file(source)
    memory = enough_memory(lambda: device, f"when it was to load `model` {source!r}", loading=True)
    with ONE_AT_A_TIME, while_loading(), undisturbed(loading=True), loading_on(device), memory:
        folder, parts = order.from_folder(source) if file is None else order.from_file(source, file)
        try:
            pipeline = order.wanted.from_pretrained(folder, **parts)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a configuration holds anything, and so do the errors that follow from it
            raise WeightsError(
                f"`model` {source!r} could not be loaded from {folder}: {reason_of(error)}. Fetch it again."
            ) from error
        for component in pipeline.components.values():
            if isinstance(component, Module):
                component.eval().requires_grad_(False)
        place(pipeline, parameters, device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_model(kind: type, folder: Path, dtype: torch.dtype) -> Any:
    """Return a model of class ``kind`` from its own folder, on the CPU, with frozen weights.

    Raises:
        WeightsError: weights missing, damaged, incomplete, or pickled.
    """
    with ONE_AT_A_TIME, while_loading(), undisturbed(loading=True):
        refuse_unreadable(folder)
        check_files(str(folder), folder, kind)
        return load_part(str(folder), folder, kind, dtype).eval().requires_grad_(False)


@dataclass(frozen=True)
class _Order:
    """Holds the arguments of :func:`load_pipeline` without the source, with formats and precision."""

    wanted: Any
    parameters: DiffusersParameters
    formats: Mapping[str, str]
    dtype: torch.dtype
    backbone: str
    optional: Collection[str]
    without: Collection[str]
    released: Sequence[str]

    def from_folder(self, source: str) -> tuple[Path, dict[str, Any]]:
        """Return the folder of a hub id or path, and its parts."""
        if self.parameters.base is not None:
            raise InvalidInputError(
                f"`base` {self.parameters.base!r} has no effect: `model` {source!r} is a whole pipeline. Leave `base` out; it"
                " completes a single file."
            )
        return self._load(source, self.without, self.formats)

    def from_file(self, source: str, file: Path) -> tuple[Path, dict[str, Any]]:
        """Return the folder that completes a single file, and the parts of both."""
        single_file.refuse_unreadable(source, declared_parts(self.wanted)["transformer"])
        checkpoint = single_file.read_checkpoint(source, file)
        held = [part for part in single_file.parts_in(checkpoint, self.wanted) if part not in self.without]
        base = single_file.base_of(source, checkpoint, self.parameters.base, self.released)
        own = {name: kind for name, kind in self.formats.items() if name in held}
        for name in own.keys() - {"transformer"}:
            raise InvalidInputError(
                f"`quantize`: {name!r} is in the file {source!r}, and only the transformer of a single file can be quantised."
                f" Name the components, as in {{'transformer': {own[name]!r}}}."
            )
        others = {name: kind for name, kind in self.formats.items() if name not in held}
        with single_file.blaming_base(source, base):
            folder, parts = self._load(base, [*self.without, *held], others)
            single_file.fetch_configurations(base, folder, held)
            index = read_json(folder / INDEX)
            classes = part_classes(base, index, self.wanted, self.optional, self.without)
            kinds = {name: kind for name in held if (kind := classes[name]) is not None}
        how = configurations(own, self.parameters, folder, kinds, self.dtype).get("transformer")
        found = single_file.load_parts(source, file, checkpoint, folder, kinds, self.dtype, how, self.wanted, parts)
        return folder, {**parts, **found}

    def _load(self, source: str, without: Collection[str], formats: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
        variant = self.parameters.variant
        folder, classes = checked_folder(source, self.backbone, self.wanted, self.optional, without, variant)
        how = configurations(
            formats, self.parameters, folder, {name: kind for name, kind in classes.items() if kind}, self.dtype
        )
        parts = {
            name: kind
            and load_part(
                source, folder / name, kind, torch.float32 if name == "vae" else self.dtype, variant, how.get(name)
            )
            for name, kind in classes.items()
        }
        return folder, parts


def given_pipeline(
    wanted: type,
    pipeline: object,
    parameters: DiffusersParameters,
    *,
    backbone: str,
    loading: Collection[str] = LOADING,
) -> Any:
    """Return an already loaded pipeline, as it is. ``loading`` names the parameters that say how to load.

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
    """Return a sentence on what to do with a pipeline of another class, of any kind of object."""
    parts = getattr(pipeline, "components", {})
    transformer = parts.get("transformer")
    declared = declared_parts(wanted)
    if isinstance(transformer, declared["transformer"]):
        if takes_more(transformer) or edits_by_itself(pipeline):
            return "Its transformer takes more than latents; use the text-to-image weights of the same family."
        if declared.keys() - compat.optional_components(wanted) <= parts.keys():
            return f"It becomes one by `{wanted.__name__}.from_pipe(pipeline)`."
    return driver({"_class_name": type(pipeline).__name__}, "", backbone) or f"Give a {wanted.__name__}."


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=ONE_AT_A_TIME.acquire,
        after_in_parent=ONE_AT_A_TIME.release,
        after_in_child=ONE_AT_A_TIME.release,
    )
