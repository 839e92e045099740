"""Place a pipeline on a device, in a precision."""

from typing import Any

import torch

from headrouter.errors import InvalidInputError, reason_of
from headrouter.models.backbone import BackboneParameters


def resolve_device(parameters: BackboneParameters) -> torch.device:
    """Return the device that the parameters mean.

    Raises:
        InvalidInputError: there is no such device here, or it cannot be offloaded to.
    """
    if parameters.device == "auto":
        mps = torch.backends.mps.is_available()
        device = torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    else:
        try:
            device = torch.device(parameters.device)
            (
                torch.ones(1, dtype=torch.float32, device=device) + 1
            ).item()  # some devices hold tensors and compute nothing
        except Exception as error:  # torch raises a class of its own for nearly every device that is not there
            raise InvalidInputError(
                f"`device` {parameters.device!r} cannot be used here: {reason_of(error)}. Choose 'auto', or a device "
                "that `headrouter doctor` lists."
            ) from error
    if parameters.offload != "none" and device.type == "cpu":
        raise InvalidInputError(
            f"`offload` {parameters.offload!r} brings weights from main memory to an accelerator, and this run computes"
            " on the CPU. Leave `offload` at 'none'."
        )
    return device


def resolve_dtype(parameters: BackboneParameters, device: torch.device) -> torch.dtype:
    """Return the precision of the weights: the one given, or bfloat16 on an accelerator and float32 on the CPU."""
    if parameters.dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[parameters.dtype]


def place(pipeline: Any, parameters: BackboneParameters, device: torch.device) -> None:
    """Bring a loaded pipeline to ``device``, at once or, with offloading, part by part when it runs."""
    if parameters.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif parameters.offload == "group":
        pipeline.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
    else:
        pipeline.to(device)
