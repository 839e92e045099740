"""Offloading by model and by group: the same edit, with less memory on the device."""

import gc
from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from headrouter_diffusers.components.placement import place, resolve_device
from headrouter_flux.parameters import FluxParameters
from torch import Tensor

from benchmarks import models
from benchmarks.figure import Figure, attempt
from benchmarks.gpu.setting import Setting
from headrouter.methods.head_router.method import HeadRouter

Offload = Literal["none", "model", "group"]


def steered(setting: Setting, offload: Offload) -> tuple[Tensor, int]:
    """Final latents of a steered step, and peak bytes on the device."""
    parameters = FluxParameters(device=str(setting.device), offload=offload)
    device = resolve_device(parameters)
    backbone = models.flux(setting.pair, setting.dtype, "cpu")
    place(backbone.pipeline, parameters, device)
    sampled = models.forward(backbone, setting.pair)(HeadRouter())
    return sampled.latents.cpu(), sampled.cost.peak_memory


def measure(setting: Setting) -> Iterator[Figure]:
    """Against no offloading: numbers that differ, and peak memory."""
    setting.progress("offload: none")
    expected, whole = steered(setting, "none")
    for offload in ("model", "group"):
        setting.progress(f"offload: {offload}")
        gc.collect()  # the model before
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()
        yield from attempt(f"offload {offload}", partial(_of, setting, offload, expected, whole))


def _of(setting: Setting, offload: Offload, expected: Tensor, whole: int) -> Iterator[Figure]:
    latents, peak = steered(setting, offload)
    yield Figure(f"offload {offload}: numbers that differ", float((latents != expected).sum()), "", goal=("=", 0))
    yield Figure(f"offload {offload}: peak memory over none", peak / whole, note=f"{peak / 2**30:.2f} GiB")
