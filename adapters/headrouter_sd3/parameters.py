"""Set how Stable Diffusion 3 and 3.5 are loaded."""

from typing import ClassVar

from headrouter_diffusers.t5 import T5Parameters

from headrouter.models.backbone import Backbone, Defaults


class SD3Parameters(T5Parameters):
    """Sets how Stable Diffusion 3 is loaded.

    Attributes:
        t5: Whether to load T5, the largest text encoder. Without it a prompt has 77 tokens, and memory need falls by
        half.
    """

    backbone: ClassVar[str] = "sd3"
    t5: bool = True

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_sd3.backbone import load

        return load(self, source, pipeline, defaults)


class SD35Parameters(SD3Parameters):
    """Sets how Stable Diffusion 3.5 is loaded; the same code drives both, their names differ in records."""

    backbone: ClassVar[str] = "sd3.5"
