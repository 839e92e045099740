"""Run networks in plain float32, whatever the program around them has set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Let networks run without gradients, autocast, and the shortened numbers of CUDA's convolutions and products."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
                yield
        finally:
            torch.set_float32_matmul_precision(before)
