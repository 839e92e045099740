"""A compiled model: steered as the uncompiled one, or refused by name."""

from collections.abc import Iterator

from benchmarks import models
from benchmarks.figure import Figure
from benchmarks.gpu.setting import Setting
from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.method import HeadRouter

TOLERANCE = 3e-2


def measure(setting: Setting) -> Iterator[Figure]:
    """Steering an uncompiled model, then the same compiled."""
    setting.progress("compile")
    forward = models.forward(models.flux(setting.block, setting.dtype, setting.device), setting.block)
    eager = forward(HeadRouter()).latents
    forward.backbone.pipeline.transformer.compile()
    try:
        compiled = forward(HeadRouter()).latents
    except IncompatibleError as error:
        if "torch.compile" not in str(error):
            raise
        yield Figure("compiled model: refused by name", 1.0, "", goal=("=", 1))
        return
    difference = float((compiled - eager).norm() / eager.norm())
    yield Figure("compiled model: steered, relative difference from uncompiled", difference, "", goal=("≤", TOLERANCE))
